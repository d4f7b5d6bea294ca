import { AppShell, Burger, Group, NavLink, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { IconBook, IconExternalLink, IconServer } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { Link, Outlet, useRouterState } from "@tanstack/react-router";
import { useEffect, useRef } from "react";
import { useTranslation } from "react-i18next";
import { pageUrl } from "@/api/client";
import { useLiveCache } from "@/api/live-hooks";
import { overviewQuery } from "@/api/overview";
import { Account } from "./Account";
import { ConnectionBanner, ConnectionState } from "./Connection";
import { Preferences } from "./Preferences";
import { PLACES } from "./places";
import classes from "./Shell.module.css";
import { ShortcutHelp } from "./ShortcutHelp";
import { useShortcuts } from "./shortcuts";

/** The frame around every route: navigation, connection, preferences, shortcuts. */
export function Shell() {
  const { t } = useTranslation();
  const [menuOpen, menu] = useDisclosure();
  const [helpOpen, help] = useDisclosure();
  const pathname = useRouterState({ select: ({ location }) => location.pathname });
  const main = useRef<HTMLElement>(null);
  useLiveCache();
  useShortcuts(help.open);

  // biome-ignore lint/correctness/useExhaustiveDependencies: whoever has gone somewhere wants to see it.
  useEffect(menu.close, [pathname]);

  return (
    <>
      {/* Not a link to #content: the fragment is the router's. */}
      <button type="button" className={classes.skip} onClick={() => main.current?.focus()}>
        {t("shell.skip")}
      </button>
      <AppShell
        header={{ height: 48 }}
        navbar={{ width: 196, breakpoint: "sm", collapsed: { mobile: !menuOpen } }}
        padding={{ base: "sm", sm: "md" }}
      >
        <AppShell.Header className={classes.bar}>
          <Group h="100%" px="sm" justify="space-between" wrap="nowrap">
            <Group gap="xs" wrap="nowrap">
              <Burger
                opened={menuOpen}
                onClick={menu.toggle}
                hiddenFrom="sm"
                size="sm"
                aria-label={t("shell.menu")}
                aria-expanded={menuOpen}
              />
              <img src="./favicon.svg" alt="" width={22} height={22} />
              <Text fw={600}>Satellite</Text>
            </Group>
            <Group gap={4} wrap="nowrap">
              <ConnectionState />
              <Account />
              <Preferences onHelp={help.open} />
            </Group>
          </Group>
        </AppShell.Header>
        <AppShell.Navbar className={classes.bar} p={6} mod={{ closed: !menuOpen }}>
          <AppShell.Section grow component="nav" aria-label={t("nav.label")}>
            {PLACES.map(({ to, name, icon: Icon }) => (
              <NavLink
                key={to}
                component={Link}
                to={to}
                activeOptions={{ exact: to === "/", includeSearch: false }}
                active={to === "/" ? pathname === "/" : pathname.startsWith(to)}
                label={t(`nav.${name}`)}
                leftSection={<Icon size={18} stroke={1.6} aria-hidden />}
                className={classes.place ?? ""}
              />
            ))}
          </AppShell.Section>
          <AppShell.Section>
            <OutsideLinks />
          </AppShell.Section>
        </AppShell.Navbar>
        <AppShell.Main ref={main} tabIndex={-1} className={classes.main}>
          <ConnectionBanner />
          <Outlet />
        </AppShell.Main>
      </AppShell>
      <ShortcutHelp opened={helpOpen} onClose={help.close} />
    </>
  );
}

function OutsideLinks() {
  const { t } = useTranslation();
  const { data: dashboard } = useQuery({
    ...overviewQuery,
    select: ({ cluster }) => cluster.dashboard_url,
  });
  const links = [
    { href: pageUrl("docs").href, text: t("nav.apiDocs"), icon: IconBook },
    ...(dashboard ? [{ href: dashboard, text: t("nav.rayDashboard"), icon: IconServer }] : []),
  ];
  return links.map(({ href, text, icon: Icon }) => (
    <NavLink
      key={href}
      href={href}
      target="_blank"
      rel="noreferrer"
      label={
        <>
          {text} <span className="visually-hidden">{t("shell.newTab")}</span>
        </>
      }
      leftSection={<Icon size={18} stroke={1.6} aria-hidden />}
      rightSection={<IconExternalLink size={14} aria-hidden />}
      className={classes.place ?? ""}
    />
  ));
}
