import { Button, Group, NativeSelect, SegmentedControl, Stack, Text } from "@mantine/core";
import { useDeferredValue, useEffect, useMemo, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { ApiError } from "@/api/client";
import { type Call, type Mode, usePredict, useSubmit } from "@/api/inference";
import { useMay } from "@/api/me";
import type { ModelInfo } from "@/api/models";
import { ErrorState } from "@/components/ErrorState";
import { Needs } from "@/components/Needs";
import { Panel } from "@/components/Panel";
import { SeriesChart } from "@/components/SeriesChart";
import { asSeries } from "@/components/series";
import { useFormat } from "@/i18n/format";
import { Prediction } from "./Answer";
import { CallCode } from "./CallCode";
import { ConfigFields } from "./ConfigFields";
import { JsonData, SeriesInput } from "./DataInput";
import { fieldsOf, isSeries } from "./fields";
import { exampleForm, type Form, type Problem, readForm, saidOf } from "./form";
import { JobAnswer } from "./JobAnswer";
import { JobOptions } from "./JobOptions";
import classes from "./Playground.module.css";

interface PlaygroundProps {
  model: ModelInfo;
  mode: Mode;
  onMode: (mode: Mode) => void;
  /** A series that was given to the model before; null: begin with the example. */
  series: string | null;
  onSeries: (series: string | null) => void;
}

/** An answer of which less is seen is brought into view. */
const LEAST_SEEN_PX = 240;

/** One model's form, its answer, and the call as code. */
export function Playground({ model, mode, onMode, series: kept, onSeries }: PlaygroundProps) {
  const { t } = useTranslation("playground");
  const format = useFormat();
  const [typed, setTyped] = useState<Form>(() => {
    const example = exampleForm(model, mode);
    return kept !== null && isSeries(model.input_schema) ? { ...example, data: kept } : example;
  });
  const [tried, setTried] = useState(false);
  const form = useMemo(() => ({ ...typed, mode }), [typed, mode]);
  const { call, problems } = useMemo(() => readForm(model, form), [model, form]);
  const fields = useMemo(() => fieldsOf(model.config_schema), [model]);
  const mayRun = useMay("submit");
  const predict = usePredict();
  const submit = useSubmit();
  const asked = mode === "predict" ? predict : submit;
  const refusal =
    asked.error instanceof ApiError && asked.variables === call ? saidOf(asked.error) : null;
  const said = useProblemText();

  const change = (change: Partial<Form>) => setTyped((known) => ({ ...known, ...change }));
  const errorOf = (pointer: string) => {
    const problem = problems.get(pointer);
    if (!problem) return refusal?.get(pointer);
    const early = problem.problem === "required" || problem.problem === "noData";
    return early && !tried ? undefined : said(problem);
  };
  // On a phone the answer is below the form.
  const answer = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const top = answer.current?.getBoundingClientRect().top ?? 0;
    const unseen = top > window.innerHeight - LEAST_SEEN_PX;
    if (unseen && (asked.data || asked.error)) answer.current?.scrollIntoView({ block: "start" });
  }, [asked.data, asked.error]);

  function run() {
    setTried(true);
    if (problems.size > 0 || !mayRun) return;
    asked.mutate(call);
  }

  const series = isSeries(model.input_schema);
  const count = Array.isArray(call.data) ? call.data.length : 0;
  const data = {
    value: form.data,
    error: errorOf("/data"),
    onChange: (value: string) => {
      change({ data: value });
      if (series) onSeries(value);
    },
    onExample: () => {
      change({ data: exampleForm(model, mode).data });
      if (series) onSeries(null);
    },
  };
  return (
    <div className={classes.columns}>
      <form
        className={classes.form}
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          run();
        }}
        onKeyDown={(event) => {
          if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
          event.preventDefault();
          run();
        }}
      >
        <Panel title={t("data.title")}>
          {series ? (
            <SeriesInput {...data} note={t("data.count", { count, shown: format.number(count) })} />
          ) : (
            <JsonData {...data} />
          )}
        </Panel>
        <Panel title={t("config.title")}>
          <ConfigFields
            fields={fields}
            values={form.config}
            errorOf={(name) => errorOf(`/config/${name}`)}
            onChange={(name, value) => change({ config: { ...form.config, [name]: value } })}
          />
          {model.versions.length > 1 && (
            <NativeSelect
              mt="sm"
              label={t("config.version")}
              error={errorOf("/model_version") ?? false}
              value={form.version}
              onChange={(event) => change({ version: event.currentTarget.value })}
              data={[
                { value: "", label: t("config.default", { value: model.version }) },
                ...model.versions,
              ]}
            />
          )}
        </Panel>
        <Panel title={t("mode.title")}>
          <Stack gap="sm">
            <SegmentedControl
              value={mode}
              onChange={(chosen) => onMode(chosen === "submit" ? "submit" : "predict")}
              data={[
                { value: "predict", label: t("mode.predict") },
                { value: "submit", label: t("mode.submit") },
              ]}
              fullWidth
              aria-label={t("mode.title")}
            />
            <Text size="xs" c="dimmed">
              {t(`mode.${mode}Hint`)}
            </Text>
            {mode === "submit" && <JobOptions form={form} errorOf={errorOf} onChange={change} />}
            <Group gap="sm">
              <Needs scope="submit">
                <Button
                  type="submit"
                  loading={asked.isPending}
                  disabled={tried && problems.size > 0}
                >
                  {t(`mode.${mode}Button`)}
                </Button>
              </Needs>
              {tried && problems.size > 0 && (
                <Text size="sm" c="var(--status-bad)" role="alert">
                  {t("mode.mend")}
                </Text>
              )}
            </Group>
          </Stack>
        </Panel>
      </form>
      <Stack gap="sm" miw={0} ref={answer} className={classes.answer ?? ""}>
        {asked.error && !refusal && (asked.variables === call || !asked.data) && (
          <ErrorState error={asked.error} title={t("answer.refused")} />
        )}
        <Panel title={t("answer.title")}>
          {mode === "predict" && predict.data && (
            <Prediction predicted={predict.data} data={predict.variables?.data} />
          )}
          {mode === "submit" && submit.data && (
            <JobAnswer
              key={submit.data.job_id}
              accepted={submit.data}
              data={submit.variables?.data}
            />
          )}
          {!asked.data && <Preview call={call} />}
        </Panel>
        <CallCode mode={mode} call={call} />
      </Stack>
    </div>
  );
}

/** What is about to be sent. */
function Preview({ call }: { call: Call }) {
  const { t } = useTranslation("playground");
  const data = useDeferredValue(call.data);
  const series = useMemo(() => asSeries(data), [data]);
  return (
    <Stack gap="xs">
      <Text size="sm" c="dimmed">
        {t("answer.none")}
      </Text>
      {series && <SeriesChart title={t("data.title")} data={series} />}
    </Stack>
  );
}

/** How many of the values that are wrong are named. */
const NAMED_VALUES = 5;

function useProblemText(): (problem: Problem) => string {
  const { t } = useTranslation("playground");
  return (problem) => {
    switch (problem.problem) {
      case "badValues": {
        const named = problem.bad
          .slice(0, NAMED_VALUES)
          .map((bad) => t("problem.badValue", { ...bad }));
        const more = problem.bad.length - named.length;
        return [...named, ...(more > 0 ? [t("problem.more", { count: more })] : [])].join("\n");
      }
      case "atLeast":
      case "above":
      case "atMost":
      case "below":
        return t(`problem.${problem.problem}`, { bound: problem.bound });
      case "label":
        return t("problem.label", { text: problem.text });
      default:
        return t(`problem.${problem.problem}`);
    }
  };
}
