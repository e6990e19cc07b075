//! Tables of plain types, which both databases have.

use sea_orm_migration::prelude::*;

/// A table, column by column.
pub(super) struct Draft(TableCreateStatement);

pub(super) fn table(name: &'static str) -> Draft {
    let mut draft = Table::create();
    draft.table(Alias::new(name));
    Draft(draft)
}

impl Draft {
    pub(super) fn col(mut self, name: &'static str, define: impl FnOnce(&mut ColumnDef) -> &mut ColumnDef) -> Self {
        let mut column = ColumnDef::new(Alias::new(name));
        define(&mut column);
        self.0.col(column);
        self
    }
    pub(super) fn id(self, name: &'static str) -> Self {
        self.col(name, |c| c.binary().not_null())
    }
    pub(super) fn id_null(self, name: &'static str) -> Self {
        self.col(name, |c| c.binary().null())
    }
    pub(super) fn text(self, name: &'static str) -> Self {
        self.col(name, |c| c.text().not_null())
    }
    pub(super) fn text_null(self, name: &'static str) -> Self {
        self.col(name, |c| c.text().null())
    }
    pub(super) fn big(self, name: &'static str) -> Self {
        self.col(name, |c| c.big_integer().not_null())
    }
    pub(super) fn big_null(self, name: &'static str) -> Self {
        self.col(name, |c| c.big_integer().null())
    }
    pub(super) fn int(self, name: &'static str) -> Self {
        self.col(name, |c| c.integer().not_null())
    }
    pub(super) fn flag(self, name: &'static str) -> Self {
        self.col(name, |c| c.boolean().not_null())
    }
    pub(super) fn key(mut self, columns: &[&'static str]) -> TableCreateStatement {
        let mut key = Index::create();
        for column in columns {
            key.col(Alias::new(*column));
        }
        self.0.primary_key(&mut key);
        self.0
    }
}
