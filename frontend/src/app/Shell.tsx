import { AppShell, NavLink } from "@mantine/core";
import { Link, Outlet } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { useLiveCache } from "@/api/live-hooks";
import { PLACES } from "./places";

/** The frame around every route. */
export function Shell() {
  const { t } = useTranslation();
  useLiveCache();
  return (
    <AppShell header={{ height: 48 }} navbar={{ width: 200, breakpoint: "sm" }} padding="md">
      <AppShell.Header p="xs">Satellite</AppShell.Header>
      <AppShell.Navbar p="xs">
        <nav aria-label={t("nav.label")}>
          {PLACES.map(({ to, name, icon: Icon }) => (
            <NavLink
              key={to}
              component={Link}
              to={to}
              label={t(`nav.${name}`)}
              leftSection={<Icon size={18} aria-hidden />}
            />
          ))}
        </nav>
      </AppShell.Navbar>
      <AppShell.Main id="content">
        <Outlet />
      </AppShell.Main>
    </AppShell>
  );
}
