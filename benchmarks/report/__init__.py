"""What is told of the figures: tables, the chart, the page, and the bars they meet or miss."""
