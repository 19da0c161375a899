import { z } from 'zod';
import type {
  ClassesMessage,
  ClassifyMessage,
  ClassMessage,
  CorrectionMessage,
  ErrorMessage,
  ServerMessage,
  SpecialistSubsetMessage,
  SpecialistsMessage,
  TestImagesMessage,
} from './messages.js';

// The schemas of what the API gives; each is held to the type in messages.ts by its annotation.

const probability = z.number().min(0).max(1);
const index = z.int().nonnegative().describe('of the class, from 0');
const namedClass = z.object({ index, class: z.string() });
const ranked = z.array(z.object({ index, class: z.string(), probability })).describe('descending');

const classified: z.ZodType<ClassifyMessage> = z.object({
  images: z.array(
    z.object({
      path: z.string().describe('the name that the image came with; `-` without one'),
      generalist: ranked.exactOptional(),
      ensemble: ranked.exactOptional().describe('of the model that is served, whatever it is'),
      specialists: z
        .array(
          z.object({
            id: z.int().nonnegative(),
            dustbin: probability.describe('probability of all classes it does not cover'),
            top: ranked,
            trace: z
              .object({
                classes: z.int().positive().describe('classes of its subset'),
                correction: z.number().describe("what its dustbin's logit was raised by, in nats"),
                mass: z
                  .object({ generalist: z.number(), ensemble: z.number() })
                  .describe('probability on its subset, of the generalist and of the ensemble'),
              })
              .exactOptional()
              .describe('with trace=true'),
          }),
        )
        .exactOptional()
        .describe('those that were queried'),
      moved: z
        .array(z.object({ index, class: z.string(), generalist: probability, ensemble: probability }))
        .exactOptional()
        .describe('with trace=true: the classes whose probability changed most'),
    }),
  ),
  errors: z
    .array(z.object({ path: z.string(), code: z.string(), message: z.string() }))
    .exactOptional()
    .describe('images without a prediction'),
});
const classes: z.ZodType<ClassesMessage> = z.object({
  count: z.int().nonnegative().describe('all that match'),
  classes: z.array(namedClass),
});
const oneClass: z.ZodType<ClassMessage> = z.object({
  index,
  class: z.string(),
  examples: z.int().nonnegative(),
  specialists: z.array(z.int()).describe('those that cover it, kept or not'),
});
const isKept = z
  .boolean()
  .describe('whether calibration kept it: one that it did not keep is queried for no image');
const specialists: z.ZodType<SpecialistsMessage> = z.object({
  count: z.int().nonnegative().describe('all that are named, kept or not'),
  specialists: z.array(
    z.object({
      id: z.int().nonnegative(),
      isKept,
      size: z.int().positive(),
      classes: z.array(z.string()).describe('the most typical'),
    }),
  ),
});
const oneSpecialist: z.ZodType<SpecialistSubsetMessage> = z.object({
  id: z.int().nonnegative(),
  isKept,
  classes: z.array(namedClass).describe('the most typical first'),
});
const testImages: z.ZodType<TestImagesMessage> = z.object({
  count: z.int().nonnegative(),
  images: z.array(z.object({ row: z.int().nonnegative(), index: z.int(), class: z.string() })),
});
const correction: z.ZodType<CorrectionMessage> = z.object({
  class: z.string(),
  file: z.string().describe('within the folder of corrections'),
  isReplaced: z.boolean().describe('whether the image had been given a class before'),
});
const server: z.ZodType<ServerMessage> = z.object({
  name: z.string(),
  version: z.string(),
  model: z.string().describe('changes when another model is taken up'),
  classes: z.int(),
  specialists: z.int().describe('those that take part'),
  image: z.object({ height: z.int(), width: z.int(), channels: z.int() }),
  canTrace: z.boolean(),
  takesCorrections: z.boolean(),
  testImages: z.int(),
  limits: z.object({ bodyBytes: z.int(), pixels: z.int(), images: z.int(), deadlineMs: z.int() }),
});
const error: z.ZodType<ErrorMessage> = z.object({
  error: z.object({ code: z.string(), message: z.string(), requestId: z.string() }),
});

const schemas = {
  classified,
  classes,
  class: oneClass,
  specialists,
  specialist: oneSpecialist,
  testImages,
  correction,
  server,
  error,
};

type SchemaName = keyof typeof schemas;

interface Parameter {
  readonly name: string;
  readonly in: 'query' | 'path';
  readonly description: string;
  readonly schema: { readonly [key: string]: string | number | boolean | readonly string[] };
}

const integer = { type: 'integer', minimum: 0 };
const query = (name: string, description: string, schema: Parameter['schema']): Parameter => ({
  name,
  in: 'query',
  description,
  schema,
});
const path = (name: string, description: string): Parameter => ({
  name,
  in: 'path',
  description,
  schema: integer,
});

const page = [
  query('offset', 'Passes over so many.', { ...integer, default: 0 }),
  query('limit', 'Gives at most so many.', { ...integer, default: 100, maximum: 1000 }),
];
const imageBody = {
  required: true,
  content: {
    'image/*': { schema: { type: 'string', format: 'binary' } },
    'application/octet-stream': { schema: { type: 'string', format: 'binary' } },
    'multipart/form-data': {
      schema: {
        type: 'object',
        properties: { image: { type: 'array', items: { type: 'string', format: 'binary' } } },
      },
    },
  },
};

interface Operation {
  readonly method: 'get' | 'post';
  readonly path: string;
  readonly summary: string;
  readonly description?: string;
  readonly parameters?: readonly Parameter[];
  readonly takesImages?: boolean;
  /** A schema, or the type of something else. */
  readonly gives: SchemaName | `${string}/${string}`;
  readonly needsToken: boolean;
  readonly failures?: Readonly<Record<number, string>>;
}

const overload = {
  413: 'A body, or the number of images, is beyond the limits.',
  503: 'The queue is full, or the deadline has passed. `Retry-After` says in how many seconds to try again.',
};

const operations: readonly Operation[] = [
  {
    method: 'post',
    path: '/v1/classify',
    summary: 'Classify one or several images',
    description:
      'The body is the image itself, or a form with a file for each image. An image that cannot be read is listed ' +
      'under `errors` and takes nothing from the others; when all of them fail, the status is 422.',
    parameters: [
      query('top', 'Names so many classes.', { type: 'integer', minimum: 1, maximum: 100, default: 5 }),
      query(
        'show',
        'Of generalist, ensemble, specialists those that are wanted, separated by commas; all by default.',
        {
          type: 'string',
        },
      ),
      query('trace', 'Adds how probability mass moved.', { type: 'boolean', default: false }),
    ],
    takesImages: true,
    gives: 'classified',
    needsToken: true,
    failures: { 422: 'None of the images can be read.', ...overload },
  },
  {
    method: 'get',
    path: '/v1',
    summary: 'What the server is and can do',
    gives: 'server',
    needsToken: true,
  },
  {
    method: 'get',
    path: '/v1/classes',
    summary: 'The classes of the model',
    parameters: [query('query', 'Names that contain this text.', { type: 'string' }), ...page],
    gives: 'classes',
    needsToken: true,
  },
  {
    method: 'get',
    path: '/v1/classes/{index}',
    summary: 'One class',
    parameters: [path('index', 'Of the class, from 0.')],
    gives: 'class',
    needsToken: true,
  },
  {
    method: 'get',
    path: '/v1/classes/{index}/examples/{number}',
    summary: 'An example image of a class',
    parameters: [path('index', 'Of the class, from 0.'), path('number', 'Of the image, from 0.')],
    gives: 'image/*',
    needsToken: true,
  },
  {
    method: 'get',
    path: '/v1/specialists',
    summary: 'The specialists, kept or not',
    gives: 'specialists',
    parameters: page,
    needsToken: true,
  },
  {
    method: 'get',
    path: '/v1/specialists/{id}',
    summary: 'The classes of one specialist',
    parameters: [path('id', 'Of the specialist.')],
    gives: 'specialist',
    needsToken: true,
  },
  {
    method: 'get',
    path: '/v1/test-images',
    summary: 'Images of the test set',
    parameters: page,
    gives: 'testImages',
    needsToken: true,
  },
  {
    method: 'get',
    path: '/v1/test-images/{row}',
    summary: 'One image of the test set',
    parameters: [path('row', 'In the test set, from 0.')],
    gives: 'image/*',
    needsToken: true,
  },
  {
    method: 'post',
    path: '/v1/corrections',
    summary: 'Keep an image under the class that a person gave it',
    parameters: [{ ...query('index', 'Of the class, from 0.', integer) }],
    takesImages: true,
    gives: 'correction',
    needsToken: true,
    failures: overload,
  },
  {
    method: 'get',
    path: '/healthz',
    summary: 'Whether the process runs',
    gives: 'text/plain',
    needsToken: false,
  },
  {
    method: 'get',
    path: '/readyz',
    summary: 'Whether it takes requests',
    gives: 'text/plain',
    needsToken: false,
    failures: { 503: 'It is about to end.' },
  },
  {
    method: 'get',
    path: '/metrics',
    summary: 'Metrics for Prometheus',
    gives: 'text/plain',
    needsToken: true,
  },
];

/** The description of the API, OpenAPI 3.1. */
export function openApiDocument(version: string, { needsToken }: { readonly needsToken: boolean }): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const operation of operations) {
    const { method, path, summary, description, parameters = [], takesImages, gives, failures } = operation;
    const isToken = needsToken && operation.needsToken;
    const json = (name: SchemaName) => ({
      'application/json': { schema: { $ref: `#/components/schemas/${name}` } },
    });
    const failure = (description: string) => ({ description, content: json('error') });
    paths[path] = {
      ...paths[path],
      [method]: {
        operationId: `${method}${path.replace(/[^a-z0-9]+(\w?)/gi, (_, letter: string) => letter.toUpperCase())}`,
        summary,
        ...(description && { description }),
        ...(parameters.length > 0 && {
          parameters: parameters.map((one) => ({ ...one, required: one.in === 'path' })),
        }),
        ...(takesImages && { requestBody: imageBody }),
        ...(isToken && { security: [{ token: [] }] }),
        responses: {
          200: {
            description: 'Done.',
            content: isSchema(gives) ? json(gives) : { [gives]: { schema: { type: 'string' } } },
          },
          ...Object.fromEntries(
            Object.entries({
              ...(parameters.length > 0 || takesImages
                ? { 400: 'The request is not what the API takes.' }
                : {}),
              ...(isToken ? { 401: 'The token is missing or wrong.' } : {}),
              ...failures,
            }).map(([status, text]) => [
              status,
              status === '422' ? { description: text, content: json('classified') } : failure(text),
            ]),
          ),
        },
      },
    };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'kd-spec',
      version,
      description:
        'Classifies images with a generalist and the specialists for the classes that it confuses.',
    },
    paths,
    components: {
      schemas: Object.fromEntries(
        Object.entries(schemas).map(([name, schema]) => {
          const { $schema, ...rest } = z.toJSONSchema(schema);
          return [name, rest];
        }),
      ),
      ...(needsToken && { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } }),
    },
  };
}

function isSchema(name: string): name is SchemaName {
  return Object.hasOwn(schemas, name);
}

/** Every method and path of the API. */
export const documentedOperations: readonly Pick<Operation, 'method' | 'path'>[] = operations;
