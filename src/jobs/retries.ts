/** How often a lost job is tried again, whoever runs it. */
export const maxRetries = 2;
