import { MantineProvider } from "@mantine/core";
import { Notifications } from "@mantine/notifications";
import { type QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import type { i18n } from "i18next";
import { I18nextProvider } from "react-i18next";
import type { LiveSocket } from "@/api/live";
import { LiveProvider } from "@/api/live-hooks";
import { Gate } from "./Gate";
import type { PageRouter } from "./router";
import { cssVariables, theme } from "./theme";

interface AppProps {
  i18n: i18n;
  live: LiveSocket;
  queries: QueryClient;
  router: PageRouter;
}

/** Everything that the page's parts find around them. */
export function App({ i18n, live, queries, router }: AppProps) {
  return (
    <I18nextProvider i18n={i18n}>
      <MantineProvider theme={theme} cssVariablesResolver={cssVariables} defaultColorScheme="auto">
        <Notifications position="bottom-right" />
        <QueryClientProvider client={queries}>
          <LiveProvider value={live}>
            <Gate>
              <RouterProvider router={router} />
            </Gate>
          </LiveProvider>
        </QueryClientProvider>
      </MantineProvider>
    </I18nextProvider>
  );
}
