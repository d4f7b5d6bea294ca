import { Tooltip } from "@mantine/core";
import { useFormat } from "@/i18n/format";
import { useNow } from "./now";

/** How long ago something was; the exact time on hover and for machines. */
export function TimeAgo({ at }: { at: string }) {
  const format = useFormat();
  const now = useNow();
  // A server whose clock is a little ahead must not put things into the future.
  const text = format.ago(Math.min(new Date(at).getTime(), now), now);
  return (
    <Tooltip label={format.moment(at)}>
      <time dateTime={at}>{text}</time>
    </Tooltip>
  );
}
