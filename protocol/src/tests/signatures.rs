//! A checkpoint that anybody changed is noticed.

use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::sample;
use crate::receipt::Checkpoint;
use crate::wire::Written;
use crate::{Digest, NodeId};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

proptest! {
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
