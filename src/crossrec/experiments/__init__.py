"""The paper's research questions, one file each: from options to run configurations, and to tables and figures."""
