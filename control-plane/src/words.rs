//! Query parameters of several words: filters take one word or more, and refuse an unknown one by its name.

use serde::de::DeserializeOwned;
use serde::de::value::StrDeserializer;
use serde::{Deserialize as _, Deserializer};

/// Words of an enum with commas in between.
pub(crate) fn words<'de, D, T>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let text = String::deserialize(deserializer)?;
    let word = |word| T::deserialize(StrDeserializer::<D::Error>::new(word));
    text.split(',').map(word).collect::<Result<Vec<_>, _>>().map(Some)
}
