// Names of the files of a data set, apart from their schema, so that help need not load what checks them.

/** The file of a data set that tells what Hugging Face's files do not: image shape, augmentation, hashes. */
export const manifestName = 'kd-spec.json';
/** One class name a line; the line's index is the label. */
export const classesName = 'classes.txt';
/** What an import left out and why. */
export const reportName = 'import.json';

/** The endings of the names of Arrow files, in a folder or on their own. */
export const arrowFileNames = /\.(arrow|feather)$/i;
