//! The schema's history. A migration never changes once it has been released; the next one goes on from it.

mod draft;
mod m0001_start;
mod m0002_images;
mod m0003_jobs;
mod m0004_explained;
mod m0005_queues;
mod m0006_uploads;
mod m0007_books;
mod m0008_identity;
mod m0009_notes;
mod m0010_usage;
mod m0011_windows;
mod m0012_sources;
mod m0013_blocks;
mod m0014_revoked_keys;
mod m0015_logs;
mod m0016_job_states;
mod m0017_erasure;
mod m0018_second_factors;
mod m0019_audit;
mod m0020_password_resets;
mod m0021_renamed_functions;
mod m0022_jobs_by_end;
mod m0030_node_keys;
mod m0031_joining;
mod m0032_trust;
mod m0034_wishes;
mod m0035_barred_machines;
mod m0036_revoked_nodes;
mod m0040_blobs;
mod m0041_moving;
mod m0042_store_keys;
mod m0043_store_disks;
mod m0044_store_marks;
mod m0045_disks;
mod m0046_kept;
mod m0047_store_copies;

use sea_orm_migration::prelude::*;

/// Runs the migrations.
pub(crate) struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_start::Migration),
            Box::new(m0002_images::Migration),
            Box::new(m0003_jobs::Migration),
            Box::new(m0004_explained::Migration),
            Box::new(m0005_queues::Migration),
            Box::new(m0006_uploads::Migration),
            Box::new(m0007_books::Migration),
            Box::new(m0008_identity::Migration),
            Box::new(m0009_notes::Migration),
            Box::new(m0010_usage::Migration),
            Box::new(m0011_windows::Migration),
            Box::new(m0012_sources::Migration),
            Box::new(m0013_blocks::Migration),
            Box::new(m0014_revoked_keys::Migration),
            Box::new(m0015_logs::Migration),
            Box::new(m0016_job_states::Migration),
            Box::new(m0017_erasure::Migration),
            Box::new(m0018_second_factors::Migration),
            Box::new(m0019_audit::Migration),
            Box::new(m0020_password_resets::Migration),
            Box::new(m0021_renamed_functions::Migration),
            Box::new(m0022_jobs_by_end::Migration),
            Box::new(m0030_node_keys::Migration),
            Box::new(m0031_joining::Migration),
            Box::new(m0032_trust::Migration),
            Box::new(m0034_wishes::Migration),
            Box::new(m0035_barred_machines::Migration),
            Box::new(m0036_revoked_nodes::Migration),
            Box::new(m0040_blobs::Migration),
            Box::new(m0041_moving::Migration),
            Box::new(m0042_store_keys::Migration),
            Box::new(m0043_store_disks::Migration),
            Box::new(m0044_store_marks::Migration),
            Box::new(m0045_disks::Migration),
            Box::new(m0046_kept::Migration),
            Box::new(m0047_store_copies::Migration),
        ]
    }
}
