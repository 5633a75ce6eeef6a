mod bucket;
mod reading;
mod refusal;
mod roundtrip;
