import {
  Alert,
  Button,
  Center,
  Checkbox,
  Code,
  Group,
  PasswordInput,
  Stack,
  Text,
  Title,
} from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { Trans, useTranslation } from "react-i18next";
import { ApiError } from "@/api/client";
import { checkKey, type Me, meQuery } from "@/api/me";
import { isSendable, session } from "@/api/session";
import { useErrorText } from "@/components/ErrorState";
import { Preferences } from "./Preferences";

interface SignInProps {
  /** Why the last key is no longer taken. */
  refusal: string | null;
}

/** Asks for an API key, and lets in who has one. */
export function SignIn({ refusal }: SignInProps) {
  const { t } = useTranslation();
  const queries = useQueryClient();
  const [typed, setTyped] = useState("");
  const [keep, setKeep] = useState(false);
  const field = useRef<HTMLInputElement>(null);
  const key = typed.trim();
  const check = useMutation({
    mutationFn: async (key: string) => {
      if (!isSendable(key)) throw new ApiError(t("signIn.notAKey"), 0, "not_a_key");
      return await checkKey(key);
    },
    onSuccess: (me: Me, key) => {
      queries.setQueryData(meQuery.queryKey, me);
      session.signIn(me.keys === "on" ? key : null, keep);
    },
  });
  const title = t("signIn.title");
  useEffect(() => {
    document.title = `${title} · Satellite`;
  }, [title]);
  useEffect(() => field.current?.focus(), []);

  return (
    <Center component="main" mih="100dvh" p="md">
      <Stack className="panel" p="lg" w="100%" maw={460} gap="md">
        <Group justify="space-between" wrap="nowrap">
          <Group gap="xs" wrap="nowrap">
            <img src="./favicon.svg" alt="" width={22} height={22} />
            <Title order={1}>{title}</Title>
          </Group>
          <Group gap={4} wrap="nowrap">
            <Preferences />
          </Group>
        </Group>
        {refusal !== null && (
          <Alert color="yellow" variant="light" role="alert" title={t("signIn.ended")}>
            <Text size="sm" style={{ overflowWrap: "anywhere" }}>
              {refusal}
            </Text>
          </Alert>
        )}
        <form
          noValidate
          onSubmit={(event) => {
            event.preventDefault();
            if (key !== "") check.mutate(key);
          }}
        >
          <Stack gap="md">
            <PasswordInput
              ref={field}
              label={t("signIn.key")}
              description={<Trans i18nKey="signIn.hint" components={{ code: <Code /> }} />}
              placeholder="sat_…"
              value={typed}
              onChange={(event) => {
                setTyped(event.currentTarget.value);
                check.reset();
              }}
              error={check.error && <ErrorText error={check.error} />}
              autoComplete="off"
              spellCheck={false}
              visibilityToggleButtonProps={{ "aria-label": t("signIn.show") }}
            />
            <Checkbox
              label={t("signIn.keep")}
              description={t("signIn.keepHint")}
              checked={keep}
              onChange={(event) => setKeep(event.currentTarget.checked)}
            />
            <Button type="submit" loading={check.isPending} disabled={key === ""}>
              {t("signIn.button")}
            </Button>
          </Stack>
        </form>
      </Stack>
    </Center>
  );
}

function ErrorText({ error }: { error: Error }) {
  return useErrorText(error);
}
