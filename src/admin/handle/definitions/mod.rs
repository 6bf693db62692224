//! Definitions: everything that an operator and the clients declared, as one JSON document in RabbitMQ's format, out
//! (`export.rs`) and in (`import.rs`), over HTTP and from a file at the start.

mod export;
mod import;

use serde_json::Value;

pub use import::{ImportError, import};

use crate::{
    admin::{
        fault,
        request::{Change, Done, Reply, Request},
    },
    broker::Broker,
};

/// `GET /api/definitions`.
pub(crate) fn get(request: &Request) -> Reply {
    Reply::json(export::everything(&request.state))
}

/// `GET /api/definitions/:vhost`.
pub(crate) fn get_vhost(request: &Request) -> Reply {
    match request.state.broker.vhost(request.parameter(0)) {
        Ok(vhost) => Reply::json(export::vhost(&request.state, &vhost)),
        Err(_) => Reply::not_found(),
    }
}

/// `POST /api/definitions`.
pub(crate) fn post(request: &Request) -> Change {
    let document = document(request)?;
    done(import(&request.state.broker, &document, None))
}

/// `POST /api/definitions/:vhost`.
pub(crate) fn post_vhost(request: &Request) -> Change {
    let document = document(request)?;
    let name = request.parameter(0);
    if request.state.broker.vhost(name).is_err() {
        return Err(fault::not_found("vhost_not_found"));
    }
    done(import(&request.state.broker, &document, Some(name)))
}

fn document(request: &Request) -> Result<Value, Reply> {
    serde_json::from_slice(&request.body).map_err(|_| Reply::bad_request("failed_to_parse_json"))
}

fn done(imported: Result<crate::broker::Pending, ImportError>) -> Change {
    Done::nothing(imported.map_err(|error| Reply::bad_request_json(error.0))?)
}

/// Imports a file at the start; waits until it lasts.
///
/// # Errors
/// One line that says what is wrong with the file.
pub fn load(broker: &Broker, path: &std::path::Path) -> Result<crate::broker::Pending, String> {
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    let document: Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    import(broker, &document, None).map_err(|error| error.to_string())
}
