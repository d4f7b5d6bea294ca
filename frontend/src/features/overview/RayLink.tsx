import { Anchor } from "@mantine/core";
import type { ReactNode } from "react";
import { useTranslation } from "react-i18next";

interface RayLinkProps {
  /** Without it there is only the text. */
  href: string | null;
  /** What it leads to. */
  what: string;
  children: ReactNode;
}

/** Leads to a page of the Ray dashboard. */
export function RayLink({ href, what, children }: RayLinkProps) {
  const { t } = useTranslation("overview");
  if (href === null) return children;
  return (
    <Anchor
      href={href}
      target="_blank"
      rel="noreferrer"
      inherit
      title={t("cluster.open", { what })}
      c="inherit"
    >
      {children}
    </Anchor>
  );
}
