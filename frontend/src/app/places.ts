import {
  IconActivity,
  IconCube,
  IconListDetails,
  IconMailX,
  IconPlayerPlay,
} from "@tabler/icons-react";

/** The routes of the navigation, with the key that follows `g` to get there. */
export const PLACES = [
  { to: "/", name: "overview", key: "o", icon: IconActivity },
  { to: "/playground", name: "playground", key: "p", icon: IconPlayerPlay },
  { to: "/jobs", name: "jobs", key: "j", icon: IconListDetails },
  { to: "/dead-letters", name: "deadLetters", key: "d", icon: IconMailX },
  { to: "/models", name: "models", key: "m", icon: IconCube },
] as const;
