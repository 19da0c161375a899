import { type Browser, chromium } from 'playwright-core';

/** Starts Debian's Chromium, or the one that TEST_CHROMIUM names, with a new profile and nothing that calls home. */
export function startChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env.TEST_CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}
