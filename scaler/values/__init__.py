"""What a task carries: functions, arguments, results and failures as bytes, and what stands for others in them."""
