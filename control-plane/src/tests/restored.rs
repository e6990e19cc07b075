//! A database that was restored from a backup: nodes go on from where it stands, and what they claim again counts once.

use protocol::api::UsageSums;
use sea_orm::ConnectionTrait as _;

use super::harness::{Ground, suite};
use super::settlement::{Runs, Signer, observe};

suite!(what_is_claimed_again_is_billed_once);

async fn what_is_claimed_again_is_billed_once(ground: Ground) {
    let (runs, mut node) = (Runs::start(&ground).await, Signer::hello(&ground).await);
    let [(first, one), (second, two), (third, three)] = [(); 3].map(|()| runs.halves(&ground, 1_000, 2_000));
    observe(&ground, &[one, two, three]).await;
    node.submit(vec![first]).await;
    node.submit(vec![second.clone()]).await;
    // The backup is of before the second checkpoint; of its runs everything is there, as if the node had sent it before.
    for sql in [
        "UPDATE nodes SET checkpoint = 1, checkpoint_digest = (SELECT digest FROM checkpoints WHERE sequence = 1) \
         WHERE checkpoint = 2",
        "DELETE FROM checkpoints WHERE sequence = 2",
    ] {
        ground.app.db.write().execute_unprepared(sql).await.unwrap();
    }
    // The hello says where it goes on, as a node asks for whose checkpoint has no place there.
    let mut again = Signer::hello(&ground).await;
    again.submit(vec![second.clone(), third]).await;
    again.submit(vec![second]).await;
    let usage: UsageSums = runs.client.get("/functions/hello/usage").await.read();
    assert_eq!((usage.runs, usage.wall_us, usage.flagged), (3, 3_000, 0));
}
