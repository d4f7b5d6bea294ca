import { createInstance, type i18n } from "i18next";
import { initReactI18next } from "react-i18next";
import type english from "./en/all";

/** Each is a chunk of its own: a reader loads the one that is read. */
const LOADERS = {
  en: () => import("./en/all"),
  ko: () => import("./ko/all"),
} as const;

export type Language = keyof typeof LOADERS;
export const LANGUAGES: Record<Language, string> = { en: "English", ko: "한국어" };

const STORED = "satellite-language";

declare module "i18next" {
  interface CustomTypeOptions {
    defaultNS: "common";
    resources: typeof english;
  }
}

/** The language that was chosen before, or else the first of the browser's that there is. */
export function preferredLanguage(): Language {
  const wanted = [stored(), ...navigator.languages.map((tag) => tag.split("-")[0])];
  return wanted.find(isLanguage) ?? "en";
}

export async function newI18n(language: Language): Promise<i18n> {
  const instance = createInstance();
  await instance.use(initReactI18next).init({
    lng: language,
    fallbackLng: false,
    defaultNS: "common",
    resources: { [language]: (await LOADERS[language]()).default },
    interpolation: { escapeValue: false },
  });
  document.documentElement.lang = language;
  return instance;
}

/** Change the language, and remember it. */
export async function changeLanguage(instance: i18n, language: Language): Promise<void> {
  const { default: resources } = await LOADERS[language]();
  for (const [namespace, texts] of Object.entries(resources)) {
    instance.addResourceBundle(language, namespace, texts);
  }
  await instance.changeLanguage(language);
  document.documentElement.lang = language;
  try {
    localStorage.setItem(STORED, language);
  } catch {
    // Storage is forbidden: it holds until the page is closed.
  }
}

function stored(): string | null {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null;
  }
}

function isLanguage(found: string | null | undefined): found is Language {
  return found !== null && found !== undefined && Object.hasOwn(LOADERS, found);
}
