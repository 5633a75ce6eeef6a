mod bucket;
mod reading;
mod refusal;
