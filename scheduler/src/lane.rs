//! Which lane a run takes, by rule.

use protocol::Lane;
use protocol::placement::LaneReason;

use crate::RunRequest;

/// The lane of a run, and why.
#[must_use]
pub fn lane_of(request: &RunRequest) -> (Lane, LaneReason) {
    protocol::placement::lane_of(request.lane, request.kind, &request.limits, request.form)
}
