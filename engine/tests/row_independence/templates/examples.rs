//! Classical machine learning, and text.

use super::{Added, Template};
use crate::generator::{Generator, Value};
use crate::proto::{float, floats, int, ints, text, texts};
use skysail_graph::ElementType::{Float32, Int64, String as Text};

pub(crate) const ALL: &[Template] = &[
    scaler, scaler, linear, linear, forest, support, binarizer, encoder, encoder, one_hot,
    features, columns, normalizer, strings, strings, written, counted,
];

const ML: &str = "ai.onnx.ml";

/// A matrix of examples, or sometimes a vector.
fn examples(m: &mut Generator) -> Option<Value> {
    let rank = if m.chance(90) { 2 } else { 1 };
    m.floats_of(rank)
}

fn numbers(m: &mut Generator, count: usize) -> Vec<f32> {
    (0..count).map(|_| (m.below(9) as f32 - 4.0) / 2.0).collect()
}

fn scaler(m: &mut Generator) -> Added {
    let x = examples(m)?;
    let width = *x.dims.last()?;
    let (offset, scale) = (numbers(m, width), numbers(m, width));
    if m.chance(60) {
        m.many(
            ML,
            "Scaler",
            &[&x.name],
            1,
            vec![floats("offset", &offset), floats("scale", &scale)],
        );
    } else {
        let attributes =
            vec![floats("imputed_value_floats", &offset), float("replaced_value_float", 0.0)];
        m.many(ML, "Imputer", &[&x.name], 1, attributes);
    }
    Some(())
}

fn linear(m: &mut Generator) -> Added {
    let x = examples(m)?;
    let width = *x.dims.last()?;
    if m.chance(50) {
        let (weights, bias) = (numbers(m, 2 * width), numbers(m, 2));
        let attributes =
            vec![floats("coefficients", &weights), floats("intercepts", &bias), int("targets", 2)];
        m.many(ML, "LinearRegressor", &[&x.name], 1, attributes);
    } else {
        let (weights, bias) = (numbers(m, 3 * width), numbers(m, 3));
        let attributes = vec![
            floats("coefficients", &weights),
            floats("intercepts", &bias),
            ints("classlabels_ints", &[4, 5, 6]),
            text("post_transform", m.pick(&["NONE", "SOFTMAX", "LOGISTIC"])),
        ];
        m.many(ML, "LinearClassifier", &[&x.name], 2, attributes);
    }
    Some(())
}

fn forest(m: &mut Generator) -> Added {
    let x = examples(m)?;
    let width = *x.dims.last()?;
    let feature = m.below(width) as i64;
    let regresses = m.chance(50);
    let mut attributes = vec![
        ints("nodes_treeids", &[0, 0, 0]),
        ints("nodes_nodeids", &[0, 1, 2]),
        ints("nodes_featureids", &[feature, 0, 0]),
        floats("nodes_values", &[1.0, 0.0, 0.0]),
        texts("nodes_modes", &["BRANCH_LEQ", "LEAF", "LEAF"]),
        ints("nodes_truenodeids", &[1, 0, 0]),
        ints("nodes_falsenodeids", &[2, 0, 0]),
    ];
    let kind = if regresses { "target" } else { "class" };
    attributes.extend([
        ints(&format!("{kind}_treeids"), &[0, 0]),
        ints(&format!("{kind}_nodeids"), &[1, 2]),
        ints(&format!("{kind}_ids"), &[0, 1]),
        floats(&format!("{kind}_weights"), &[0.5, 2.0]),
    ]);
    if regresses {
        attributes.push(int("n_targets", 2));
        m.many(ML, "TreeEnsembleRegressor", &[&x.name], 1, attributes);
    } else {
        attributes.push(ints("classlabels_int64s", &[7, 9]));
        m.many(ML, "TreeEnsembleClassifier", &[&x.name], 2, attributes);
    }
    Some(())
}

fn support(m: &mut Generator) -> Added {
    let x = examples(m)?;
    let width = *x.dims.last()?;
    let vectors = numbers(m, 2 * width);
    let attributes = vec![
        text("kernel_type", "LINEAR"),
        floats("kernel_params", &[0.5, 0.0, 3.0]),
        floats("support_vectors", &vectors),
        floats("coefficients", &[0.5, -0.5]),
        floats("rho", &[0.25]),
        int("n_supports", 2),
    ];
    if m.chance(50) {
        m.many(ML, "SVMRegressor", &[&x.name], 1, attributes);
    } else {
        let mut attributes: Vec<_> =
            attributes.into_iter().filter(|attribute| attribute.name != "n_supports").collect();
        attributes.extend([ints("vectors_per_class", &[1, 1]), ints("classlabels_ints", &[3, 8])]);
        m.many(ML, "SVMClassifier", &[&x.name], 2, attributes);
    }
    Some(())
}

fn binarizer(m: &mut Generator) -> Added {
    let x = m.floats(1)?;
    m.many(ML, "Binarizer", &[&x.name], 1, vec![float("threshold", 0.5)]);
    Some(())
}

fn encoder(m: &mut Generator) -> Added {
    if m.chance(50) {
        let x = m.value(|value| value.element == Text)?;
        let attributes =
            vec![texts("keys_strings", &["a", "b", "c"]), ints("values_int64s", &[1, 2, 3])];
        m.many(ML, "LabelEncoder", &[&x.name], 1, attributes);
    } else {
        let x = m.value(|value| value.element == Int64)?;
        let attributes =
            vec![ints("keys_int64s", &[0, 1, 2]), floats("values_floats", &[1.0, 5.0, -2.0])];
        m.many(ML, "LabelEncoder", &[&x.name], 1, attributes);
    }
    Some(())
}

fn one_hot(m: &mut Generator) -> Added {
    let x = m.value(|value| matches!(value.element, Text | Int64) && value.dims.len() < 4)?;
    let attributes = match x.element {
        Text => vec![texts("cats_strings", &["a", "b", "c"])],
        _ => vec![ints("cats_int64s", &[0, 1, 2])],
    };
    m.many(ML, "OneHotEncoder", &[&x.name], 1, attributes);
    Some(())
}

fn features(m: &mut Generator) -> Added {
    let x = m.floats_of(2)?;
    let y = m.value(|value| {
        value.element == Float32 && value.dims.len() == 2 && value.dims[0] == x.dims[0]
    })?;
    let sizes = ints("inputdimensions", &[x.dims[1] as i64, y.dims[1] as i64]);
    m.many(ML, "FeatureVectorizer", &[&x.name, &y.name], 1, vec![sizes]);
    Some(())
}

fn columns(m: &mut Generator) -> Added {
    let x = m.floats(1)?;
    let places = m.below(*x.dims.last()?) as i64;
    let places = m.list(&[0, places]);
    m.many(ML, "ArrayFeatureExtractor", &[&x.name, &places], 1, vec![]);
    Some(())
}

fn normalizer(m: &mut Generator) -> Added {
    let x = examples(m)?;
    let norm = m.pick(&["MAX", "L1", "L2"]);
    m.many(ML, "Normalizer", &[&x.name], 1, vec![text("norm", norm)]);
    Some(())
}

fn strings(m: &mut Generator) -> Added {
    let x = m.value(|value| value.element == Text)?;
    match m.below(5) {
        0 => {
            let mut attributes = vec![text("case_change_action", "UPPER")];
            if m.chance(20) {
                attributes.push(texts("stopwords", &["a"]));
            }
            m.one("StringNormalizer", &[&x.name], attributes);
        }
        1 if m.opset >= 20 => {
            let y = m.value(|value| value.element == Text && value.dims == x.dims)?;
            m.one("StringConcat", &[&x.name, &y.name], vec![]);
        }
        2 if m.opset >= 20 => {
            m.one("RegexFullMatch", &[&x.name], vec![text("pattern", "[a-c]+")]);
        }
        3 if m.opset >= 20 => {
            m.many("", "StringSplit", &[&x.name], 2, vec![text("delimiter", ",")]);
        }
        _ => drop(m.one("Identity", &[&x.name], vec![])),
    }
    Some(())
}

/// Numbers converted to text.
fn written(m: &mut Generator) -> Added {
    let x = m.value(|value| value.element == Int64)?;
    m.one("Cast", &[&x.name], vec![int("to", 8)]);
    Some(())
}

fn counted(m: &mut Generator) -> Added {
    let x = m.value(|value| value.element == Int64 && (1..3).contains(&value.dims.len()))?;
    let attributes = vec![
        text("mode", "TF"),
        int("min_gram_length", 1),
        int("max_gram_length", 1),
        int("max_skip_count", 0),
        ints("ngram_counts", &[0]),
        ints("ngram_indexes", &[0, 1, 2]),
        ints("pool_int64s", &[0, 1, 2]),
    ];
    m.one("TfIdfVectorizer", &[&x.name], attributes);
    Some(())
}
