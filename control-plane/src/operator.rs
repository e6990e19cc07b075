//! The one-time token that makes the operator: a file in the data folder, there only while there is no operator.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use protocol::Code;
use sea_orm::{ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _, PaginatorTrait as _, QueryFilter as _};
use subtle::ConstantTimeEq as _;

use crate::db::Db;
use crate::db::entities::users;
use crate::error::{Result, StartError, refuse};
use crate::identity::credentials::secret;

/// The token, while it can be used.
pub(crate) struct Operator {
    path: PathBuf,
    token: Mutex<Option<String>>,
}

/// Whether somebody is the operator already.
pub(crate) async fn exists<C: ConnectionTrait>(connection: &C) -> Result<bool, DbErr> {
    Ok(users::Entity::find().filter(users::Column::Operator.eq(true)).count(connection).await? > 0)
}

impl Operator {
    /// Reads the token, or makes it where there is no operator.
    pub(crate) async fn open(path: &Path, db: &Db) -> Result<Self, StartError> {
        let failed = |source| StartError::File { path: path.to_owned(), source };
        let token = match exists(db.read()).await? {
            true => {
                remove(path);
                None
            }
            false => Some(match std::fs::read_to_string(path) {
                Ok(token) => token.trim().to_owned(),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    let token = crate::tickets::make_private(path, secret().as_bytes()).map_err(failed)?;
                    String::from_utf8_lossy(&token).trim().to_owned()
                }
                Err(error) => return Err(failed(error)),
            }),
        };
        Ok(Self { path: path.to_owned(), token: Mutex::new(token) })
    }

    /// Refuses any other token.
    pub(crate) fn check(&self, asked: &str) -> Result<()> {
        let token = self.token.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match &*token {
            Some(token) if bool::from(token.as_bytes().ct_eq(asked.as_bytes())) => Ok(()),
            _ => Err(refuse(Code::InvitationInvalid, "The operator's link is wrong or has been used.")),
        }
    }

    /// It has been used.
    pub(crate) fn used(&self) {
        *self.token.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
        remove(&self.path);
    }
}

fn remove(path: &Path) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "cannot remove the used operator token");
        }
        _ => {}
    }
}
