import { useQueryClient } from "@tanstack/react-query";
import { lazy, type ReactNode, Suspense, useEffect } from "react";
import { useLiveSocket } from "@/api/live-hooks";
import { useSession } from "@/api/session";

// Where no keys are asked for it is never loaded.
const SignIn = lazy(async () => ({ default: (await import("./SignIn")).SignIn }));

/** The page, for whoever may see it; for others the way in. The address stays, so they come to what they wanted. */
export function Gate({ children }: { children: ReactNode }) {
  const { asked } = useSession();
  const live = useLiveSocket();
  const queries = useQueryClient();
  const closed = asked !== null;

  useEffect(() => {
    if (closed) {
      live.stop();
      // The next one may be somebody else.
      queries.clear();
    } else {
      live.start();
    }
  }, [closed, live, queries]);

  if (asked === null) return children;
  return (
    <Suspense fallback={null}>
      <SignIn refusal={asked.refusal} />
    </Suspense>
  );
}
