import "@testing-library/jest-dom/vitest";
import { cleanup, configure } from "@testing-library/react";
import { afterEach, vi } from "vitest";

afterEach(cleanup);

// Tests share their machine with whatever else is built and tested there.
configure({ asyncUtilTimeout: 10_000 });

// What Mantine and uPlot ask of a browser and jsdom lacks.
vi.stubGlobal("matchMedia", (query: string) => ({
  matches: false,
  media: query,
  addEventListener() {},
  removeEventListener() {},
  addListener() {},
  removeListener() {},
}));
vi.stubGlobal(
  "ResizeObserver",
  class {
    observe() {}
    unobserve() {}
    disconnect() {}
  },
);

// jsdom draws nothing: what is drawn on a canvas goes nowhere.
const nowhere: CanvasRenderingContext2D = new Proxy({} as CanvasRenderingContext2D, {
  get: (_, name) => (name === "measureText" ? () => ({ width: 10 }) : () => nowhere),
  set: () => true,
});
HTMLCanvasElement.prototype.getContext = (() => nowhere) as never;
vi.stubGlobal(
  "Path2D",
  class {
    moveTo() {}
    lineTo() {}
    rect() {}
    arc() {}
    addPath() {}
    closePath() {}
  },
);
// What an input that grows with its text listens to.
Object.defineProperty(document, "fonts", { value: new EventTarget() });
Element.prototype.scrollIntoView = () => {};
