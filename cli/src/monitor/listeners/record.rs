//! Listeners as data: one JSON object, as monitor/LISTENERS.md documents it.

use halfopen_monitor::listeners::{Listener, Reach, Unexplained};
use halfopen_services::Service;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::View;

/// The object, on lines.
pub(super) fn object(view: &View<'_>) -> String {
    let listening = &view.listening;
    let against = view.outside.as_ref();
    let object = json!({
        "type": "listeners",
        "version": 1,
        "time": Timestamp::now(),
        "namespace": listening.own,
        "hidden_processes": listening.hidden_processes,
        "without_process": listening.without_process(),
        "against": against.map(|outside| json!({ "source": outside.source, "from_itself": outside.from_itself })),
        "listeners": view.listeners().map(|(_, listener, reach)| record(view, listener, reach)).collect::<Vec<_>>(),
        "unexplained": view.unexplained.iter().map(|it| unexplained(view, it)).collect::<Vec<_>>(),
        "policy": policy(view),
    });
    format!("{object:#}\n")
}

fn record(view: &View<'_>, listener: &Listener, reach: &Reach) -> Value {
    let why = if let Reach::Unknown(why) = reach { Some(why) } else { None };
    json!({
        "protocol": listener.port.protocol.name(),
        "address": listener.address,
        "port": listener.port.number,
        "also_ipv4": listener.also_v4,
        "namespace": listener.namespace,
        "own_namespace": listener.namespace == view.listening.own,
        "processes": listener.processes,
        "user": listener.user,
        "published": listener.published,
        "published_from": view.destination(listener).and_then(Listener::place),
        "reach": reach.name(),
        "why": why,
        "verified": reach.verified(),
        "sights": reach.sights(),
        "service": listener.service().map(service),
    })
}

fn service(service: &Service) -> Value {
    json!({
        "name": service.name,
        "title": service.title,
        "wire": service.wire.name(),
        "plaintext": service.is_plaintext(),
        "instead": service.instead,
        "risk": service.risk.name(),
    })
}

fn unexplained(view: &View<'_>, it: &Unexplained) -> Value {
    let candidates = it.candidates.iter().map(|&place| &view.listening.listeners[place]);
    let candidates = candidates.map(|listener| json!({ "namespace": listener.namespace, "place": listener.place() }));
    json!({
        "protocol": it.endpoint.port.protocol.name(),
        "address": it.endpoint.address,
        "port": it.endpoint.port.number,
        "sight": it.sight,
        "candidates": candidates.collect::<Vec<_>>(),
    })
}

fn policy(view: &View<'_>) -> Option<Value> {
    let expectation = view.expectation?;
    let violations = view.violations.iter().map(|violation| {
        let listener = &view.listening.listeners[violation.listener];
        json!({
            "protocol": listener.port.protocol.name(),
            "address": listener.address,
            "port": listener.port.number,
            "why": violation.why,
            "line": violation.line,
        })
    });
    let idle: Vec<_> = expectation.idle(&view.listening).map(|allowed| allowed.line).collect();
    Some(json!({ "violations": violations.collect::<Vec<_>>(), "idle_lines": idle }))
}
