//! Class 90, tx.

use super::method::methods;

methods! {
    /// Any tx method.
    90 "tx" Method {
        10 Select "select" Client {}
        11 SelectOk "select-ok" Server {}
        20 Commit "commit" Client {}
        21 CommitOk "commit-ok" Server {}
        30 Rollback "rollback" Client {}
        31 RollbackOk "rollback-ok" Server {}
    }
}
