import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { renderDdddocr } from '../scripts/results/complaints/ddddocr-page.js';
import { renderComplaints } from '../scripts/results/complaints/page.js';
import { renderRapidocr } from '../scripts/results/complaints/rapidocr-page.js';
import { renderSecondList } from '../scripts/results/complaints/second-list-page.js';
import { renderEnsemblePage } from '../scripts/results/distillation/ensemble-page.js';
import { renderFewPage } from '../scripts/results/distillation/few-page.js';
import { renderIdxPage } from '../scripts/results/distillation/idx-page.js';
import { renderObjectivesPage } from '../scripts/results/distillation/objectives-page.js';
import { renderSpeechPage } from '../scripts/results/distillation/speech-page.js';
import { renderTenPage } from '../scripts/results/distillation/ten-page.js';
import { renderFeaturesPage } from '../scripts/results/features/page.js';
import { renderFrontier } from '../scripts/results/frontier/page.js';
import { renderFrozenRivals } from '../scripts/results/frozen/page.js';
import { renderIcons } from '../scripts/results/icons/page.js';
import { renderInsidePage } from '../scripts/results/inside/page.js';
import { renderSeedsPage, seedsTable } from '../scripts/results/seeds/page.js';
import { renderWidthPage } from '../scripts/results/width/page.js';
import { readingHeading } from '../scripts/results/write-result.js';

const folder = 'docs/results';
/** By the beginning of the file's name. */
const pages = {
  complaint: renderComplaints,
  'second-list': renderSecondList,
  rapidocr: renderRapidocr,
  ddddocr: renderDdddocr,
  icons: renderIcons,
  'distil-idx': renderIdxPage,
  mnist: renderIdxPage,
  'distil-few': renderFewPage,
  'distil-objectives': renderObjectivesPage,
  'distil-speech': renderSpeechPage,
  'distil-ten': renderTenPage,
  'distil-ensemble': renderEnsemblePage,
  width: renderWidthPage,
  inside: renderInsidePage,
  features: renderFeaturesPage,
  'frozen-rivals': renderFrozenRivals,
  frontier: renderFrontier,
} as const;

const starts = Object.keys(pages).join('|');
const files = readdirSync(folder).filter((name) => new RegExp(`^(${starts})(-.*)?\\.json$`).test(name));

test('there are such pages', () => {
  expect(files.length).toBeGreaterThan(0);
});

test.each(files)('the page beside %s says what it says, and then how to read it', (file) => {
  const [, render] = Object.entries(pages).find(([start]) => file.startsWith(start)) ?? [];
  const result = JSON.parse(readFileSync(`${folder}/${file}`, 'utf8'));
  const page = readFileSync(`${folder}/${file.replace('.json', '.md')}`, 'utf8');
  const [figures, reading] = page.split(`\n${readingHeading}`);
  expect(figures).toBe((render as ((result: unknown) => string) | undefined)?.(result));
  expect(reading?.trim().length).toBeGreaterThan(0);
});

test('the page of the quickstart, and the table of the README, say what its JSON says', () => {
  const results = JSON.parse(readFileSync(`${folder}/quickstart.json`, 'utf8'));
  expect(readFileSync(`${folder}/quickstart.md`, 'utf8')).toBe(renderSeedsPage('quickstart', results));
  expect(readFileSync('README.md', 'utf8')).toContain(seedsTable(results));
});
