//! Regression trees as flat arrays: trained by smartcore, asked here, in well under a microsecond a tree.

use serde::{Deserialize, Serialize};
use smartcore::ensemble::random_forest_regressor::{RandomForestRegressor, RandomForestRegressorParameters};
use smartcore::linalg::basic::matrix::DenseMatrix;

use crate::features::{FEATURES, Features};
use crate::snapshot::TrainError;

/// A leaf has no feature to ask.
const LEAF: u8 = u8::MAX;

/// A forest's mean answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Forest {
    /// Where each tree begins.
    roots: Vec<u32>,
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Node {
    feature: u8,
    /// The split, or a leaf's answer.
    value: f32,
    /// At most the split: here. More: there.
    left: u32,
    right: u32,
}

/// smartcore's own form, of which only this is needed: its fields are private, its serialised form is not.
#[derive(Deserialize)]
struct Theirs {
    forest_regressor: Option<TheirForest>,
}

#[derive(Deserialize)]
struct TheirForest {
    trees: Option<Vec<TheirTree>>,
}

#[derive(Deserialize)]
struct TheirTree {
    nodes: Vec<TheirNode>,
}

#[derive(Deserialize)]
struct TheirNode {
    output: f64,
    split_feature: usize,
    split_value: Option<f64>,
    true_child: Option<usize>,
    false_child: Option<usize>,
}

/// How a forest is grown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Growth {
    pub(crate) trees: usize,
    pub(crate) depth: u16,
    pub(crate) leaf_min: usize,
    pub(crate) seed: u64,
}

impl Forest {
    /// Trains one.
    pub(crate) fn grow(rows: &[Features], answers: &[f64], growth: Growth) -> Result<Self, TrainError> {
        let flat: Vec<f32> = rows.iter().flatten().copied().collect();
        let matrix = DenseMatrix::new(rows.len(), FEATURES, flat, false).map_err(TrainError::learner)?;
        let parameters = RandomForestRegressorParameters::default()
            .with_n_trees(growth.trees)
            .with_max_depth(growth.depth)
            .with_min_samples_leaf(growth.leaf_min)
            .with_m(FEATURES / 2)
            .with_seed(growth.seed);
        let answers = answers.to_vec();
        let forest = RandomForestRegressor::fit(&matrix, &answers, parameters).map_err(TrainError::learner)?;
        let text = serde_json::to_value(&forest).map_err(TrainError::form)?;
        Self::flatten(serde_json::from_value(text).map_err(TrainError::form)?)
    }

    #[allow(clippy::cast_possible_truncation, reason = "features and nodes are few, answers need six digits")]
    fn flatten(theirs: Theirs) -> Result<Self, TrainError> {
        let mut flat = Self { roots: Vec::new(), nodes: Vec::new() };
        let trees = theirs.forest_regressor.and_then(|forest| forest.trees);
        for tree in trees.unwrap_or_default() {
            let root = flat.nodes.len();
            flat.roots.push(root as u32);
            for node in tree.nodes {
                flat.nodes.push(match (node.split_value, node.true_child, node.false_child) {
                    (Some(split), Some(left), Some(right)) => Node {
                        feature: node.split_feature as u8,
                        value: split as f32,
                        left: (root + left) as u32,
                        right: (root + right) as u32,
                    },
                    _ => Node { feature: LEAF, value: node.output as f32, left: 0, right: 0 },
                });
            }
        }
        if flat.is_sound() { Ok(flat) } else { Err(TrainError::Shape) }
    }

    /// Whether every walk ends: children come after their parents, and every feature exists.
    pub(crate) fn is_sound(&self) -> bool {
        let count = self.nodes.len();
        let sound = |(place, node): (usize, &Node)| {
            let after = |child: u32| (child as usize) > place && (child as usize) < count;
            node.value.is_finite()
                && (node.feature == LEAF
                    || (usize::from(node.feature) < FEATURES && after(node.left) && after(node.right)))
        };
        !self.roots.is_empty()
            && self.roots.iter().all(|root| (*root as usize) < count)
            && self.nodes.iter().enumerate().all(sound)
    }

    /// The mean of the trees' answers.
    #[allow(clippy::cast_precision_loss, reason = "trees are few")]
    pub(crate) fn predict(&self, features: &Features) -> f32 {
        let sum: f32 = self.roots.iter().map(|root| self.walk(*root, features)).sum();
        sum / self.roots.len() as f32
    }

    fn walk(&self, root: u32, features: &Features) -> f32 {
        let mut node = self.nodes[root as usize];
        while node.feature != LEAF {
            let left = features[usize::from(node.feature)] <= node.value;
            node = self.nodes[(if left { node.left } else { node.right }) as usize];
        }
        node.value
    }
}
