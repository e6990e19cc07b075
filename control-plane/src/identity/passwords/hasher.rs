//! argon2id on memory that is used again: some 20 MiB for each hash that is worked on at once. Allocated anew each time,
//! the allocator would keep it for every thread that has ever hashed.

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::password_hash::try_generate_salt;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use parking_lot::Mutex;

use crate::error::{Error, Result};

/// Hashes and compares.
pub(super) struct Hasher {
    params: Params,
    /// What no hash uses now: as many as have been worked on at once.
    memories: Mutex<Vec<Vec<Block>>>,
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Internal(format!("hashing: {error}"))
}

impl Hasher {
    pub(super) fn new(params: Params) -> Self {
        Self { params, memories: Mutex::default() }
    }

    /// The hash of a password, with a salt of its own.
    pub(super) fn hash(&self, password: &str) -> Result<String> {
        let salt = try_generate_salt().map_err(failed)?;
        let (algorithm, version) = (Algorithm::Argon2id, Version::V0x13);
        let argon2 = Argon2::new(algorithm, version, self.params.clone());
        let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
        self.derive(&argon2, password, &salt, &mut output).map_err(failed)?;
        let hash = PasswordHash {
            algorithm: algorithm.ident(),
            version: Some(version.into()),
            params: ParamsString::try_from(&self.params).map_err(failed)?,
            salt: Some(Salt::new(&salt).map_err(failed)?),
            hash: Some(Output::new(&output).map_err(failed)?),
        };
        Ok(hash.to_string())
    }

    /// Whether the password is the one of this hash, whatever its costs.
    pub(super) fn is(&self, stored: &PasswordHash, password: &str) -> bool {
        let version = stored.version.map_or(Ok(Version::default()), Version::try_from);
        let (Ok(algorithm), Ok(version), Ok(params), Some(salt), Some(expected)) = (
            Algorithm::try_from(stored.algorithm.as_str()),
            version,
            Params::try_from(stored),
            &stored.salt,
            &stored.hash,
        ) else {
            return false;
        };
        let argon2 = Argon2::new(algorithm, version, params);
        let mut output = vec![0; expected.as_bytes().len()];
        let derived = self.derive(&argon2, password, salt, &mut output);
        // `Output` compares in constant time.
        derived.is_ok() && Output::new(&output).is_ok_and(|output| output == *expected)
    }

    /// Whether a hash has the costs of new ones.
    pub(super) fn is_current(&self, stored: &PasswordHash) -> bool {
        let costs = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
        let is_newest = stored.algorithm == Algorithm::Argon2id.ident();
        is_newest && Params::try_from(stored).is_ok_and(|params| costs(&params) == costs(&self.params))
    }

    fn derive(&self, argon2: &Argon2<'_>, password: &str, salt: &[u8], output: &mut [u8]) -> argon2::Result<()> {
        let mut memory = self.memories.lock().pop().unwrap_or_default();
        let blocks = argon2.params().block_count();
        if memory.len() < blocks {
            memory.resize(blocks, Block::new());
        }
        let derived = argon2.hash_password_into_with_memory(password.as_bytes(), salt, output, memory.as_mut_slice());
        self.memories.lock().push(memory);
        derived
    }
}

#[cfg(test)]
mod tests {
    use argon2::PasswordVerifier as _;

    use super::*;

    #[test]
    fn a02_memory_is_used_again_and_says_the_same() {
        let params = |memory, passes| Params::new(memory, passes, 1, None).unwrap();
        let (hasher, larger) = (Hasher::new(params(8, 2)), Hasher::new(params(64, 1)));
        let foreign = larger.hash("correct horse").unwrap();
        for _ in 0..3 {
            let own = hasher.hash("correct horse").unwrap();
            for stored in [&own, &foreign] {
                let parsed = PasswordHash::new(stored).unwrap();
                assert!(hasher.is(&parsed, "correct horse") && !hasher.is(&parsed, "wrong horse"), "{stored}");
                assert!(Argon2::default().verify_password(b"correct horse", &parsed).is_ok(), "as others read it");
            }
        }
        assert_eq!(hasher.memories.lock().len(), 1);
        assert!(!hasher.is(&PasswordHash::new("$argon2id$v=19$m=8,t=1,p=1").unwrap(), ""), "a hash of nothing");
    }
}
