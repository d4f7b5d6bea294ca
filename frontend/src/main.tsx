import "@mantine/core/styles.css";
import "@mantine/notifications/styles.css";
import "./app/page.css";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { newLiveSocket } from "@/api/live-hooks";
import { meQuery } from "@/api/me";
import { newQueryClient } from "@/api/queries";
import { session } from "@/api/session";
import { App } from "./app/App";
import { newRouter } from "./app/router";
import { newI18n, preferredLanguage } from "./i18n/setup";

const root = document.getElementById("root");
if (!root) throw new Error("index.html has no #root");

const live = newLiveSocket();
window.addEventListener("online", () => live.hurry());
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") live.hurry();
});

window.addEventListener("storage", (event) => session.changedElsewhere(event));

const queries = newQueryClient();
const router = newRouter();
// Whether somebody must sign in is known before anything is drawn; an API that is slow to say so is not waited for.
const asked = queries.fetchQuery(meQuery).catch(() => {});
const patience = new Promise((resolve) => setTimeout(resolve, 2_000));
const [i18n] = await Promise.all([newI18n(preferredLanguage()), Promise.race([asked, patience])]);

createRoot(root).render(
  <StrictMode>
    <App i18n={i18n} live={live} queries={queries} router={router} />
  </StrictMode>,
);
