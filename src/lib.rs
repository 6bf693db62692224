//! Warren: one small server for RabbitMQ, Kafka, Redis and ZeroMQ clients, with Flink-SQL stream jobs inside.
//!
//! Where everything is, and the rules that hold it together: `src/ARCHITECTURE.md`.

pub mod admin;
pub mod amqp;
pub mod broker;
pub mod cli;
pub mod clock;
pub mod config;
pub mod data;
pub mod kafka;
pub mod net;
pub mod observe;
pub mod redis;
pub mod store;
pub mod stream;
pub mod zmq;

#[cfg(test)]
mod sim;
