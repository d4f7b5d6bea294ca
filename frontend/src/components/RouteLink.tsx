import { Anchor, type AnchorProps } from "@mantine/core";
import { createLink } from "@tanstack/react-router";
import type { AnchorHTMLAttributes, Ref } from "react";

interface PlainProps
  extends AnchorProps,
    Omit<AnchorHTMLAttributes<HTMLAnchorElement>, keyof AnchorProps> {
  ref?: Ref<HTMLAnchorElement>;
}

/** A link to a route, as typed as the router's own and as calm as the theme's. */
export const RouteLink = createLink(function PlainAnchor(props: PlainProps) {
  return <Anchor {...props} />;
});
