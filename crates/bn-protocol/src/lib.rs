//! How an implementation of batch norm plugs into the conformance suite.
//!
//! A *case* ([`case`]) is what an engine is asked: a layer, the state it starts from, and a
//! script of steps. It answers each step with an *outcome* ([`outcome`]): arrays, or a
//! refusal. In Rust an engine is a type with the trait [`engine::Engine`]; in any language
//! it is a program that speaks the *engine protocol*:
//!
//! The suite starts the program and writes one JSON request per line to its standard input;
//! the program writes one JSON answer per line to its standard output, in the same order.
//! Standard error is the program's own.
//!
//! | request | answer |
//! |---|---|
//! | `{"hello":{"protocol":1}}` | `{"hello":{"name":…,"version":…,"claims":[…]}}` |
//! | `{"run":CASE}` | `{"outcomes":[OUTCOME, …]}`, one per step, or `{"unsupported":"why"}`, or `{"error":"what went wrong"}` |
//! | `{"reproduce":CASE}`, where offered | `{"reproduction":{"language":…,"code":…}}`, or as above |
//! | `{"time":TIMING}`, where offered | `{"timed":{"seconds":[…],"probes":[…]}}`, or as above |
//! | `"bye"` | none: the program ends |
//!
//! `hello` comes first, and again after each answer to a `run`: so a second line
//! for one case, or a program that ends just after its answer, is noticed at the
//! case that it belongs to and spoils no other. The answer is always the same.
//!
//! [`serve`] speaks it for an engine in Rust, and [`adapter`] plays a script on a
//! framework's layer, which is all that most engines are. The whole of the protocol is
//! written down in `docs/engine-protocol.md`, with its JSON Schema.

pub mod adapter;
pub mod capability;
pub mod case;
pub mod engine;
mod messages;
pub mod number;
pub mod outcome;
mod schema;
mod serving;
pub mod tensor;
pub mod timing;

pub use messages::{Answer, Request, VERSION};
pub use schema::schema;
pub use serving::{run_caught, serve, silence_engines};
