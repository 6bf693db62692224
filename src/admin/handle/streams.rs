//! Our own part of the API: topics, and stream jobs made of SQL.

use axum::http::StatusCode;
use serde_json::json;

use crate::admin::{
    listing::{list, one},
    request::{Reply, Request},
    source::Later,
};

/// `GET /api/topics`.
pub(crate) fn topics(request: &Request) -> Reply {
    list(request.state.source.topics(None).iter().map(|t| json!(t)).collect(), &request.query)
}

/// `GET /api/topics/:vhost`.
pub(crate) fn topics_of_vhost(request: &Request) -> Reply {
    match request.vhost() {
        Ok(vhost) => {
            list(request.state.source.topics(Some(vhost)).iter().map(|t| json!(t)).collect(), &request.query)
        }
        Err(reply) => reply,
    }
}

/// `GET /api/topics/:vhost/:topic`.
pub(crate) fn topic(request: &Request) -> Reply {
    let rows = request.state.source.topics(Some(request.parameter(0)));
    match rows.iter().find(|t| t.name == request.parameter(1)) {
        Some(row) => one(json!(row), &request.query),
        None => Reply::not_found(),
    }
}

/// `GET /api/streams`.
pub(crate) fn jobs(request: &Request) -> Reply {
    list(request.state.source.jobs().all().iter().map(|j| json!(j)).collect(), &request.query)
}

/// `GET /api/streams/:job`.
pub(crate) fn job(request: &Request) -> Reply {
    match request.state.source.jobs().all().iter().find(|j| j.name == request.parameter(0)) {
        Some(row) => one(json!(row), &request.query),
        None => Reply::not_found(),
    }
}

/// `POST /api/streams`: SQL as text; answers the jobs once they run. With `?replace=true` it edits jobs of those names.
pub(crate) fn run(request: Request) -> Later<'static, Reply> {
    Box::pin(async move {
        let sql = match request.text() {
            Ok(sql) => sql,
            Err(reply) => return reply,
        };
        let replace = request.query.value("replace") == Some("true");
        match request.state.source.jobs().run(vhost(&request), sql, replace).await {
            Ok(jobs) => {
                let mut reply = Reply::json(json!(jobs));
                reply.status = StatusCode::CREATED;
                reply
            }
            Err(reason) => Reply::bad_request(&reason),
        }
    })
}

/// `POST /api/streams/explain`: what would run, as text.
pub(crate) fn explain(request: Request) -> Later<'static, Reply> {
    Box::pin(async move {
        match request.text() {
            Ok(sql) => text(request.state.source.jobs().explain(vhost(&request), sql).await),
            Err(reply) => reply,
        }
    })
}

/// `POST /api/streams/show`: what EXPLAIN, DESCRIBE and SHOW of a text say; nothing is started.
pub(crate) fn show(request: Request) -> Later<'static, Reply> {
    Box::pin(async move {
        match request.text() {
            Ok(sql) => text(request.state.source.jobs().show(vhost(&request), sql).await),
            Err(reply) => reply,
        }
    })
}

fn text(said: Result<String, String>) -> Reply {
    match said {
        Ok(text) => Reply::page("text/plain; charset=utf-8", text.into_bytes()),
        Err(reason) => Reply::bad_request(&reason),
    }
}

/// `GET /api/streams/printed?after=N`: what `print` tables received; without `after`, only where to begin.
pub(crate) fn printed(request: Request) -> Later<'static, Reply> {
    Box::pin(async move {
        let after = match request.query.value("after").map(str::parse).transpose() {
            Ok(after) => after,
            Err(_) => return Reply::bad_request("after must be a whole number"),
        };
        Reply::json(json!(request.state.source.jobs().printed(after).await))
    })
}

/// `POST /api/streams/:job/pause`: answers the job once it stands, or is `pausing`: a full queue holds up its last epoch.
pub(crate) fn pause(request: Request) -> Later<'static, Reply> {
    ordered(request, true)
}

/// `POST /api/streams/:job/resume`.
pub(crate) fn resume(request: Request) -> Later<'static, Reply> {
    ordered(request, false)
}

fn ordered(request: Request, pause: bool) -> Later<'static, Reply> {
    Box::pin(async move {
        match request.state.source.jobs().pause(request.parameter(0), pause).await {
            Some(row) => Reply::json(json!(row)),
            None => Reply::not_found(),
        }
    })
}

/// `POST /api/streams/:job/reset?to=earliest|latest|MILLISECONDS`: from the beginning, with nothing remembered.
pub(crate) fn reset(request: Request) -> Later<'static, Reply> {
    Box::pin(async move {
        let to = request.query.value("to").map(str::to_owned);
        match request.state.source.jobs().reset(request.parameter(0), to).await {
            Ok(Some(row)) => Reply::json(json!(row)),
            Ok(None) => Reply::not_found(),
            Err(reason) => Reply::bad_request(&reason),
        }
    })
}

/// `DELETE /api/streams/:job`.
pub(crate) fn drop_job(request: Request) -> Later<'static, Reply> {
    Box::pin(async move {
        match request.state.source.jobs().remove(request.parameter(0)).await {
            Ok(true) => Reply::empty(StatusCode::NO_CONTENT),
            Ok(false) => Reply::not_found(),
            Err(reason) => Reply::bad_request(&reason),
        }
    })
}

/// Jobs live in the default vhost unless `?vhost=` says otherwise.
fn vhost(request: &Request) -> &str {
    request.query.value("vhost").unwrap_or("/")
}
