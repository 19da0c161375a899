/** How gradients change weights: AdamW, or SGD with Nesterov momentum. */
export type OptimizerKind = 'adamw' | 'sgd';
