//! A ticket or a checkpoint that anybody changed is noticed.

use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::sample;
use crate::receipt::Checkpoint;
use crate::ticket::{SignedTicket, TicketError};
use crate::wire::Written;
use crate::{Digest, NodeId};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

/// Ed25519 is deterministic: the same ticket under the same key is always this text.
#[test]
fn a_signed_ticket_is_as_committed() {
    let signed = sample::ticket().sign(&key(1));
    assert_eq!(signed.0, include_str!("golden/signed_ticket_v2.txt").trim_end());
    assert_eq!(signed.verify(&[key(2).verifying_key(), key(1).verifying_key()]), Ok(sample::ticket()));
    // An earlier release said less.
    let earlier = SignedTicket(include_str!("golden/signed_ticket_v1.txt").trim_end().to_owned());
    assert_eq!(earlier.verify(&[key(1).verifying_key()]), Ok(sample::ticket()));
}

#[test]
fn a_foreign_key_or_nonsense_is_refused() {
    let signed = sample::ticket().sign(&key(1));
    assert_eq!(signed.verify(&[key(2).verifying_key()]), Err(TicketError::Signature));
    assert_eq!(signed.verify(&[]), Err(TicketError::Signature));
    for text in ["", ".", "a.b", "no dot", &format!("{}A", signed.0), &signed.0.replace('.', "")] {
        assert_eq!(
            SignedTicket(text.to_owned()).verify(&[key(1).verifying_key()]),
            Err(TicketError::Malformed),
            "{text}"
        );
    }
}

proptest! {
    #[test]
    fn no_change_of_a_ticket_goes_unnoticed(place: prop::sample::Index, byte in 32..127_u8) {
        let signed = sample::ticket().sign(&key(1));
        let mut bytes = signed.0.into_bytes();
        let place = place.index(bytes.len());
        prop_assume!(bytes[place] != byte);
        bytes[place] = byte;
        let changed = SignedTicket(String::from_utf8(bytes).unwrap());
        prop_assert!(changed.verify(&[key(1).verifying_key()]).is_err());
    }

    #[test]
    fn any_bytes_are_refused_calmly(text: String) {
        prop_assert!(SignedTicket(text).verify(&[key(1).verifying_key()]).is_err());
    }

    #[test]
    fn no_change_of_a_checkpoint_goes_unnoticed(count in 1..5_u128, change in 0..9_usize, victim: prop::sample::Index) {
        let node = NodeId::from_uuid(sample::uuid(2));
        let receipts: Vec<_> = (0..count).map(sample::receipt).collect();
        let good = Checkpoint::sign(node, 5, Digest::of(b"4"), receipts, &key(1));
        prop_assert!(good.verify(&key(1).verifying_key()));
        prop_assert!(!good.verify(&key(2).verifying_key()));

        let mut bad = good.clone();
        let victim = victim.index(bad.receipts.len());
        match change {
            0 => bad.node = NodeId::from_uuid(sample::uuid(3)),
            1 => bad.sequence += 1,
            2 => bad.previous = Digest::of(b"other"),
            3 => bad.digest = Digest::of(b"other"),
            4 => drop(bad.receipts.remove(victim)),
            5 => bad.receipts.push(Written::new(sample::receipt(99)).unwrap()),
            6 | 7 => {
                let mut receipt = bad.receipts.remove(victim).into_value();
                match change {
                    6 => receipt.end.usage.cpu_us += 1,
                    _ => receipt.ticket.0.push('x'),
                }
                bad.receipts.insert(victim, Written::new(receipt).unwrap());
            }
            _ => bad.signature = "nonsense".to_owned(),
        }
        prop_assert!(!bad.verify(&key(1).verifying_key()));
    }
}
