import { type CSSVariablesResolver, createTheme } from "@mantine/core";

/** Calm and dense: small type, tight corners, one accent. */
export const theme = createTheme({
  // Mantine's greys for the dark scheme, a little towards blue, so that they suit the light one's.
  colors: {
    dark: [
      "#d5d9df",
      "#a9afb8",
      "#8e959f",
      "#5f6771",
      "#414852",
      "#2f353d",
      "#23272e",
      "#1b1e23",
      "#16191d",
      "#111316",
    ],
  },
  primaryColor: "blue",
  primaryShade: 8,
  autoContrast: true,
  respectReducedMotion: true,
  defaultRadius: "sm",
  fontFamily:
    'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Noto Sans KR", "Apple SD Gothic Neo", "Malgun Gothic", sans-serif',
  fontFamilyMonospace:
    'ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace',
  headings: {
    fontWeight: "600",
    sizes: {
      h1: { fontSize: "1.25rem", lineHeight: "1.4" },
      h2: { fontSize: "1rem", lineHeight: "1.4" },
      h3: { fontSize: "0.875rem", lineHeight: "1.4" },
    },
  },
  components: {
    Table: { defaultProps: { verticalSpacing: 6, horizontalSpacing: "sm", fz: "sm" } },
    Tooltip: { defaultProps: { withArrow: true, openDelay: 300 } },
    Modal: { defaultProps: { centered: true } },
    Anchor: { defaultProps: { underline: "hover" } },
  },
});

/** Where Mantine's own colours fall short of WCAG AA on our backgrounds; and the colours of charts and states. */
export const cssVariables: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    "--mantine-color-error": "#b42318",
    "--mantine-color-dimmed": "#5c636a",
    "--mantine-color-placeholder": "#6b7280",
    "--page-background": "#f6f7f9",
    "--page-surface": "#ffffff",
    "--page-line": "#dfe3e8",
    "--chart-grid": "#e6e9ed",
    "--chart-1": "#1f5fbf",
    "--chart-2": "#b45309",
    "--chart-3": "#0f766e",
    "--chart-4": "#a21caf",
    "--chart-5": "#4d7c0f",
    "--chart-6": "#475569",
    "--status-good": "#1a6d33",
    "--status-bad": "#b42318",
    "--status-warn": "#8a4b00",
    "--status-busy": "#1f5fbf",
    "--status-idle": "#5c636a",
  },
  dark: {
    "--mantine-color-error": "#ff8a80",
    "--mantine-color-dimmed": "#a3a9b1",
    "--mantine-color-placeholder": "#8e959e",
    "--page-background": "#14161a",
    "--page-surface": "#1b1e23",
    "--page-line": "#31363d",
    "--chart-grid": "#2a2e35",
    "--chart-1": "#74a8f5",
    "--chart-2": "#f0a94b",
    "--chart-3": "#4fc3b4",
    "--chart-4": "#e07fe8",
    "--chart-5": "#a6cc5c",
    "--chart-6": "#a8b3c2",
    "--status-good": "#6fcf8b",
    "--status-bad": "#ff8a80",
    "--status-warn": "#f0b35a",
    "--status-busy": "#74a8f5",
    "--status-idle": "#a3a9b1",
  },
});
