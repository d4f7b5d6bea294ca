import { type JobFilter, type JobStatus, STATUSES } from "@/api/jobs";

/** What the list of jobs shows, as it stands in the address. */
export interface JobsSearch {
  model?: string;
  status?: JobStatus[];
  /** `key=value`; a job has all of them. */
  label?: string[];
  /** ISO 8601, with a time zone. */
  after?: string;
  before?: string;
  /** Only repeats of this job. */
  parent?: string;
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** The router's check: whatever somebody wrote into the address, only what makes sense is kept. */
export function jobsSearch(search: Record<string, unknown>): JobsSearch {
  const statuses = texts(search.status).filter(isStatus);
  const labels = texts(search.label).filter(isLabel);
  const [model, parent] = [texts(search.model)[0], texts(search.parent)[0]];
  const [after, before] = [moment(search.after), moment(search.before)];
  return {
    ...(model ? { model } : {}),
    ...(statuses.length > 0 ? { status: STATUSES.filter((one) => statuses.includes(one)) } : {}),
    ...(labels.length > 0 ? { label: [...new Set(labels)] } : {}),
    ...(after ? { after } : {}),
    ...(before ? { before } : {}),
    ...(parent && isJobId(parent) ? { parent } : {}),
  };
}

/** The same, as the API asks for it. */
export function filterOf(search: JobsSearch): JobFilter {
  const { model, status, label, after, before, parent } = search;
  return {
    ...(model === undefined ? {} : { model_name: model }),
    ...(status === undefined ? {} : { status }),
    ...(label === undefined ? {} : { label }),
    ...(after === undefined ? {} : { created_after: after }),
    ...(before === undefined ? {} : { created_before: before }),
    ...(parent === undefined ? {} : { parent_id: parent }),
  };
}

export function isFiltered(search: JobsSearch): boolean {
  return Object.keys(search).length > 0;
}

export function isJobId(text: string): boolean {
  return UUID.test(text);
}

export function isLabel(text: string): boolean {
  return text.indexOf("=") > 0;
}

/** A time of an `<input type="datetime-local">`, which is the reader's own; an empty one is none. */
export function fromLocal(value: string): string | undefined {
  const date = new Date(value);
  return value === "" || Number.isNaN(date.getTime()) ? undefined : date.toISOString();
}

export function toLocal(moment: string | undefined): string {
  if (moment === undefined) return "";
  const date = new Date(moment);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** The router reads `123` and `true` as JSON: they are words here. One value stands for a list of one. */
function texts(found: unknown): string[] {
  if (found === undefined || found === null) return [];
  return (Array.isArray(found) ? found : [found]).flatMap((one: unknown) =>
    ["string", "number", "boolean"].includes(typeof one) ? [String(one).trim()] : [],
  );
}

function moment(found: unknown): string | undefined {
  const text = texts(found)[0];
  if (text === undefined) return undefined;
  const date = new Date(text);
  return Number.isNaN(date.getTime()) ? undefined : date.toISOString();
}

function isStatus(text: string): text is JobStatus {
  return (STATUSES as readonly string[]).includes(text);
}
