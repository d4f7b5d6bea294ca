import "@mantine/core/styles.css";
import "@mantine/notifications/styles.css";
import "./app/page.css";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { newLiveSocket } from "@/api/live-hooks";
import { newQueryClient } from "@/api/queries";
import { App } from "./app/App";
import { newRouter } from "./app/router";
import { newI18n, preferredLanguage } from "./i18n/setup";

const root = document.getElementById("root");
if (!root) throw new Error("index.html has no #root");

const live = newLiveSocket();
live.start();
window.addEventListener("online", () => live.hurry());
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") live.hurry();
});

const queries = newQueryClient();
const router = newRouter();
const i18n = await newI18n(preferredLanguage());

createRoot(root).render(
  <StrictMode>
    <App i18n={i18n} live={live} queries={queries} router={router} />
  </StrictMode>,
);
