import {
  createHashHistory,
  createRootRoute,
  createRoute,
  createRouter,
  lazyRouteComponent,
} from "@tanstack/react-router";
import { CrashState } from "@/components/ErrorState";
import { jobsSearch } from "@/features/jobs/search";
import { overviewSearch } from "@/features/overview/search";
import { playgroundSearch } from "@/features/playground/search";
import { NotFound } from "./NotFound";
import { Shell } from "./Shell";

/*
 * The place in the page is in the address's fragment (`#/jobs?status=dead`), so a proxy may put the page under any
 * path and needs to know none of these. What is filtered stands in the search, checked by the feature's `search.ts`.
 */

const root = createRootRoute({ component: Shell, notFoundComponent: NotFound });

const overview = createRoute({
  getParentRoute: () => root,
  path: "/",
  validateSearch: overviewSearch,
  component: lazyRouteComponent(() => import("@/features/overview/OverviewPage"), "OverviewPage"),
});

const playground = createRoute({
  getParentRoute: () => root,
  path: "/playground",
  validateSearch: playgroundSearch,
  component: lazyRouteComponent(
    () => import("@/features/playground/PlaygroundPage"),
    "PlaygroundPage",
  ),
});

const jobs = createRoute({
  getParentRoute: () => root,
  path: "/jobs",
  validateSearch: jobsSearch,
  component: lazyRouteComponent(() => import("@/features/jobs/JobsPage"), "JobsPage"),
});

const job = createRoute({
  getParentRoute: () => root,
  path: "/jobs/$jobId",
  component: lazyRouteComponent(() => import("@/features/jobs/JobPage"), "JobPage"),
});

const deadLetters = createRoute({
  getParentRoute: () => root,
  path: "/dead-letters",
  component: lazyRouteComponent(
    () => import("@/features/dead-letters/DeadLettersPage"),
    "DeadLettersPage",
  ),
});

const models = createRoute({
  getParentRoute: () => root,
  path: "/models",
  component: lazyRouteComponent(() => import("@/features/models/ModelsPage"), "ModelsPage"),
});

const model = createRoute({
  getParentRoute: () => root,
  path: "/models/$name",
  component: lazyRouteComponent(() => import("@/features/models/ModelPage"), "ModelPage"),
});

export function newRouter() {
  return createRouter({
    routeTree: root.addChildren([overview, playground, jobs, job, deadLetters, models, model]),
    history: createHashHistory(),
    defaultPreload: "intent",
    defaultErrorComponent: CrashState,
    scrollRestoration: true,
  });
}

export type PageRouter = ReturnType<typeof newRouter>;

declare module "@tanstack/react-router" {
  interface Register {
    router: PageRouter;
  }
}
