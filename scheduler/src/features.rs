//! What the model is told of a run: numbers from the request, the version's history and the class of the node.

use protocol::{ByteSize, Lane, VersionId};

use crate::history::{History, NodeClass, VersionHistory, log_of};

/// How many numbers there are. A snapshot of another count is refused.
pub(crate) const FEATURES: usize = 14;

/// The numbers.
pub(crate) type Features = [f32; FEATURES];

/// Where the node's class stands.
const BY_CLASS: usize = 10;
const CLASS: usize = 11;

/// The numbers for a run of this version on a node of each class, and the base that the model corrects (a
/// logarithm): the version's median, moved by what its inputs explain.
pub(crate) fn of_classes(
    history: &History,
    version: VersionId,
    input: ByteSize,
    lane: Lane,
) -> ([Features; NodeClass::COUNT], f64) {
    let classes = NodeClass::all();
    let (first, base) = features(history, version, input, lane, classes[0]);
    let known = history.knows(version).then(|| history.version(version));
    let rows = classes.map(|class| {
        let mut row = first;
        (row[BY_CLASS], row[CLASS]) = by_class(known, class);
        row
    });
    (rows, base)
}

#[allow(clippy::cast_possible_truncation, reason = "six digits are enough")]
fn by_class(known: Option<&VersionHistory>, class: NodeClass) -> (f32, f32) {
    let against = known.and_then(|known| Some(known.median_of_class_s(class)?.ln() - known.median_s().ln()));
    (against.unwrap_or(0.0) as f32, f32::from(class.number()))
}

/// The same for one class.
#[allow(clippy::cast_possible_truncation, reason = "six digits are enough")]
pub(crate) fn features(
    history: &History,
    version: VersionId,
    input: ByteSize,
    lane: Lane,
    class: NodeClass,
) -> (Features, f64) {
    let known = history.knows(version);
    let of = history.version(version);
    let own = |value: f64| if known { value } else { 0.0 };
    let median = of.median_s().ln();
    let base = median + own(of.log_by_input(input));
    let from_base = |seconds: Option<f64>| seconds.map_or(0.0, |seconds| seconds.ln() - median);
    let features = [
        base,
        from_base(of.quantile_s(0.9)),
        from_base(of.quantile_s(0.25)),
        own(of.log_mean() - median),
        of.log_deviation(),
        own(of.last_log() - median).clamp(-8.0, 8.0),
        own(of.runs()).ln_1p(),
        log_of(input),
        base - median,
        own(of.median_of_input_s(input).map_or(0.0, |seconds| seconds.ln() - base)),
        0.0,
        0.0,
        f64::from(u8::from(lane == Lane::Vm)),
        of.failures(),
    ];
    let mut features = features.map(|feature| if feature.is_finite() { feature as f32 } else { 0.0 });
    (features[BY_CLASS], features[CLASS]) = by_class(known.then_some(of), class);
    (features, base)
}
