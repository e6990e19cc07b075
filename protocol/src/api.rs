//! Requests and answers of the public API, `/api/v1`: one definition for server, portal and command line.

use serde::{Deserialize, Serialize};

macro_rules! api_types {
    ($($item:item)*) => {$(
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        $item
    )*};
}

mod accounts;
mod audit;
mod functions;
mod nodes;
mod runs;
mod second_factor;
mod store;
mod trust;
mod usage;

pub use accounts::*;
pub use audit::*;
pub use functions::*;
pub use nodes::*;
pub use runs::*;
pub use second_factor::*;
pub use store::*;
pub use trust::*;
pub use usage::*;

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// The cursor of the next page; none on the last.
    pub next: Option<String>,
}
