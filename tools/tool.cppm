/// The parts of the `megakernel` command, everything but its command line, so that tests can use
/// them.
export module megakernel.tool;

// bytes that come from outside, and text that goes there
export import :input;        // a file of untrusted size and behaviour -> bytes
export import :output;       // text -> a descriptor that may be full or closed
export import :whole_file;   // a file that is there as a whole or not at all
export import :dump;         // buffers -> a directory that inspect reads
export import :file_source;  // files that another process rewrites -> frames

// what is known of a kernel
export import :inspect;         // bytes -> what is wrong and what is where
export import :verdict;         // that -> one sentence
export import :recommend;       // the next launch, and why
export import :sketch;          // counts that are kept and merged
export import :histogram;       // durations, counted
export import :frame;           // one look at a kernel's buffers, wherever it comes from
export import :observer;        // frames -> what a person wants to know of each
export import :timeline;        // many looks -> a bounded number of columns
export import :report;          // observations -> what is to be said of all of them
export import :metrics;         // a kernel as a page for Prometheus
export import :capture;         // a file of frames over time
export import :capture_writer;  // frames -> that, from a thread of its own
export import :capture_reader;  // that -> frames, in order or from any time
export import :capture_input;   // one of them, for what looks at dumps
export import :capture_player;  // a capture, observed from anywhere in it

// a kernel under load
export import :workload;     // work for a kernel, the same for the same seed
export import :injection;    // a failure that is made to happen
export import :producer;     // a thread that publishes work and watches it finish
export import :run;          // all of it -> what is found of it
export import :run_capture;  // frames of it, at a steady rate, to a capture

// how it is said
export import :names;                    // numbers of the wire -> words
export import :layout;                   // columns, colours and line breaks
export import :ring_bar;                 // a ring's slots by status
export import :look_line;                // the line that a look is
export import :render_table;             // an inspection for a person
export import :render_json;              // for a program
export import :render_csv;               // for a spreadsheet, a row a slot
export import :render_diagnosis;         // what ails a ring
export import :render_run;               // a run, a line a second and at the end
export import :render_observation_json;  // everything seen of a frame, for a program
export import :render_capture;           // a capture and what is seen in it
export import :plot;                     // values -> curves of a web page
export import :render_report;            // a report as a page
export import :render_trace;             // a report as a trace
export import :canvas;                   // a screen of a terminal as a value
export import :view;                     // observations -> that screen

export import :conformance;  // golden vectors -> passed, failed, skipped
