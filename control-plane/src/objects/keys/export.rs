//! An export of master keys: JSON, with the keys encrypted under a passphrase (argon2id, AES-256-GCM), or in plain text.

use std::collections::BTreeMap;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};

use super::folder::{KeyError, KeyNumber, MasterSecret};

/// The form that is written.
const FORM: u32 = 1;
/// What deriving a key of a passphrase takes: memory in KiB, and passes over it.
const MEMORY_KIB: u32 = 65_536;
const PASSES: u32 = 3;
/// What a file may ask for.
const MEMORY_KIB_MAX: u32 = 1_048_576;
const PASSES_MAX: u32 = 64;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Its form.
    crowdcloud_master_keys: u32,
    keys: Keys,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Keys {
    Plain(Vec<Key>),
    Encrypted(Encrypted),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    number: KeyNumber,
    key: MasterSecret,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Encrypted {
    argon2id: Costs,
    /// A nonce, then the keys as JSON, encrypted.
    sealed: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Costs {
    memory_kib: u32,
    passes: u32,
    salt: String,
}

/// What is to be kept.
pub(super) fn write(keys: &BTreeMap<KeyNumber, MasterSecret>, passphrase: Option<&str>) -> Result<String, KeyError> {
    let plain: Vec<Key> = keys.iter().map(|(number, key)| Key { number: *number, key: key.clone() }).collect();
    let keys = match passphrase {
        None => Keys::Plain(plain),
        Some(passphrase) => Keys::Encrypted(encrypt(&plain, passphrase)?),
    };
    let file = File { crowdcloud_master_keys: FORM, keys };
    serde_json::to_string_pretty(&file).map(|text| text + "\n").map_err(not_an_export)
}

/// What was kept, and whether it was encrypted.
pub(super) fn read(
    text: &str,
    passphrase: Option<&str>,
) -> Result<(BTreeMap<KeyNumber, MasterSecret>, bool), KeyError> {
    let file: File = serde_json::from_str(text).map_err(not_an_export)?;
    if file.crowdcloud_master_keys != FORM {
        return Err(not_an_export(format!("its form is {}, and {FORM} is known", file.crowdcloud_master_keys)));
    }
    let is_encrypted = matches!(file.keys, Keys::Encrypted(_));
    let keys = match (file.keys, passphrase) {
        (Keys::Plain(keys), _) => keys,
        (Keys::Encrypted(_), None) => return Err(KeyError::Encrypted),
        (Keys::Encrypted(encrypted), Some(passphrase)) => decrypt(&encrypted, passphrase)?,
    };
    if let Some(key) = keys.iter().find(|key| key.number.0 < 0) {
        return Err(not_an_export(format!("no key has the number {}", key.number)));
    }
    Ok((keys.into_iter().map(|key| (key.number, key.key)).collect(), is_encrypted))
}

fn encrypt(keys: &[Key], passphrase: &str) -> Result<Encrypted, KeyError> {
    let (salt, nonce): ([u8; 16], [u8; NONCE_LEN]) = (rand::random(), rand::random());
    let key = derive(passphrase, &salt, MEMORY_KIB, PASSES)?;
    let mut sealed = serde_json::to_vec(keys).map_err(not_an_export)?;
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), associated(), &mut sealed)
        .map_err(|_| KeyError::Derivation("the keys are too long".to_owned()))?;
    let sealed = URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat());
    let argon2id = Costs { memory_kib: MEMORY_KIB, passes: PASSES, salt: URL_SAFE_NO_PAD.encode(salt) };
    Ok(Encrypted { argon2id, sealed })
}

fn decrypt(encrypted: &Encrypted, passphrase: &str) -> Result<Vec<Key>, KeyError> {
    let Encrypted { argon2id: costs, sealed } = encrypted;
    if costs.memory_kib > MEMORY_KIB_MAX || costs.passes > PASSES_MAX {
        return Err(not_an_export("its passphrase would take too long"));
    }
    let salt = URL_SAFE_NO_PAD.decode(&costs.salt).map_err(not_an_export)?;
    let sealed = URL_SAFE_NO_PAD.decode(sealed).map_err(not_an_export)?;
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>().ok_or_else(|| not_an_export("it is cut"))?;
    let key = derive(passphrase, &salt, costs.memory_kib, costs.passes)?;
    let mut opened = sealed.to_vec();
    let opened = key.open_in_place(Nonce::assume_unique_for_key(*nonce), associated(), &mut opened);
    serde_json::from_slice(opened.map_err(|_| KeyError::Passphrase)?).map_err(not_an_export)
}

fn associated() -> Aad<&'static [u8]> {
    Aad::from(&b"crowdcloud master keys 1"[..])
}

fn derive(passphrase: &str, salt: &[u8], memory_kib: u32, passes: u32) -> Result<LessSafeKey, KeyError> {
    if passphrase.is_empty() {
        return Err(KeyError::EmptyPassphrase);
    }
    let failed = |error: argon2::Error| KeyError::Derivation(error.to_string());
    let params = Params::new(memory_kib, passes, 1, None).map_err(failed)?;
    let mut key = [0; 32];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into(passphrase.as_bytes(), salt, &mut key).map_err(failed)?;
    let key = UnboundKey::new(&AES_256_GCM, &key).expect("a key of 32 bytes");
    Ok(LessSafeKey::new(key))
}

fn not_an_export(why: impl ToString) -> KeyError {
    KeyError::NotAnExport(why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> BTreeMap<KeyNumber, MasterSecret> {
        BTreeMap::from([(KeyNumber(0), MasterSecret::of([1; 32])), (KeyNumber(3), MasterSecret::of([2; 32]))])
    }

    #[test]
    fn only_the_passphrase_opens_an_export() {
        let (text, again) = (write(&keys(), Some("correct horse")).unwrap(), write(&keys(), Some("correct horse")));
        assert_ne!(text, again.unwrap(), "each has a salt of its own");
        let secret = URL_SAFE_NO_PAD.encode([1; 32]);
        assert!(!text.contains(&secret) && text.contains("argon2id"), "{text}");
        assert_eq!(read(&text, Some("correct horse")).unwrap(), (keys(), true));
        assert!(matches!(read(&text, Some("another")), Err(KeyError::Passphrase)));
        assert!(matches!(read(&text, Some("")), Err(KeyError::EmptyPassphrase)));
        assert!(matches!(read(&text, None), Err(KeyError::Encrypted)));
        assert!(matches!(write(&keys(), Some("")), Err(KeyError::EmptyPassphrase)));
        let costly = text.replace(&format!("\"passes\": {PASSES}"), "\"passes\": 4000000000");
        assert!(matches!(read(&costly, Some("correct horse")), Err(KeyError::NotAnExport(_))), "{costly}");
    }

    /// The form of exports that people have put into their safes.
    #[test]
    fn a_plain_export_is_as_it_was() {
        let golden = format!(
            "{{\n  \"crowdcloud_master_keys\": 1,\n  \"keys\": {{\n    \"plain\": [\n      {{\n        \"number\": 0,\n        \
             \"key\": \"{}\"\n      }},\n      {{\n        \"number\": 3,\n        \"key\": \"{}\"\n      }}\n    ]\n  }}\n}}\n",
            URL_SAFE_NO_PAD.encode([1; 32]),
            URL_SAFE_NO_PAD.encode([2; 32]),
        );
        assert_eq!(write(&keys(), None).unwrap(), golden);
        assert_eq!(read(&golden, None).unwrap(), (keys(), false));
        for other in [golden.replace(": 1,", ": 2,"), golden.replace("plain", "other"), "{}".to_owned(), String::new()]
        {
            assert!(matches!(read(&other, None), Err(KeyError::NotAnExport(_))), "{other}");
        }
    }
}
