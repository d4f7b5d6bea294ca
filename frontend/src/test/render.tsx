import { MantineProvider } from "@mantine/core";
import { QueryClientProvider } from "@tanstack/react-query";
import { render } from "@testing-library/react";
import type { ReactNode } from "react";
import { I18nextProvider } from "react-i18next";
import { LiveSocket, type Socket } from "@/api/live";
import { LiveProvider } from "@/api/live-hooks";
import { type Me, meQuery } from "@/api/me";
import { newQueryClient } from "@/api/queries";
import { type Language, newI18n } from "@/i18n/setup";

/** A socket that never opens. */
export function silentSocket(): Socket {
  return { onopen: null, onmessage: null, onclose: null, send() {}, close() {} };
}

/** The caller of an API that asks for no keys. */
export const keysOff: Me = {
  tenant: "default",
  scopes: ["read", "submit", "admin"],
  keys: "off",
  key_id: null,
  key_name: null,
  expires_at: null,
};

/** The caller of an API that does. */
export const keysOn: Me = {
  ...keysOff,
  tenant: "acme",
  scopes: ["read"],
  keys: "on",
  key_id: "k1",
  key_name: "wall screen",
};

/** Draw a part of the page with what it finds around it: texts, theme, cache and a connection. */
export async function renderPart(
  part: ReactNode,
  {
    language = "en" as Language,
    live = new LiveSocket(silentSocket),
    queries = newQueryClient(),
    me = keysOff,
  } = {},
) {
  queries.setQueryData(meQuery.queryKey, me);
  const i18n = await newI18n(language);
  return {
    queries,
    live,
    ...render(
      <I18nextProvider i18n={i18n}>
        <MantineProvider env="test">
          <QueryClientProvider client={queries}>
            <LiveProvider value={live}>{part}</LiveProvider>
          </QueryClientProvider>
        </MantineProvider>
      </I18nextProvider>,
    ),
  };
}
