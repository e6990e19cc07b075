//! Caps that the owner wants on the machine: they only lower what was agreed.

use protocol::node::CapsWish;
use serde::{Deserialize, Serialize};

use crate::hours::QuietHours;

/// What somebody wants to be lent at most; what is left out stays as it was agreed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wish {
    /// Caps.
    #[serde(flatten)]
    pub caps: CapsWish,
    /// When nothing is lent, beside the hours that were agreed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quiet_hours: Option<QuietHours>,
}

impl From<CapsWish> for Wish {
    fn from(caps: CapsWish) -> Self {
        Self { caps, quiet_hours: None }
    }
}

impl Wish {
    /// This wish, and what a later one says beside it or instead.
    #[must_use]
    pub fn then(self, later: Self) -> Self {
        Self { caps: self.caps.then(later.caps), quiet_hours: later.quiet_hours.or(self.quiet_hours) }
    }
}

#[cfg(test)]
mod tests {
    use protocol::ByteSize;

    use super::*;

    #[test]
    fn caps_and_hours_stand_side_by_side_on_disk_and_on_the_socket() {
        let wish: Wish =
            serde_json::from_str(r#"{"memory":"1GiB","cores":1,"quiet_hours":"22:00-07:00 UTC"}"#).unwrap();
        assert_eq!((wish.caps.memory, wish.caps.cores), (Some(ByteSize::mib(1024)), Some(1)));
        assert!(wish.quiet_hours.is_some());
        let json = serde_json::to_value(&wish).unwrap();
        assert_eq!(json["cores"], 1);
        assert_eq!(json["memory"], "1073741824");
        assert_eq!(serde_json::from_value::<Wish>(json).unwrap(), wish);
        assert_eq!(serde_json::from_str::<Wish>("{}").unwrap(), Wish::default());
    }
}
