"""Telling endpoints outside what the feed holds: signed, at least once, in no promised order.

``routing`` makes deliveries of what the feed has behind an endpoint's position, ``delivering`` attempts them,
``sending`` is the request, ``addresses`` says where to it may go, ``signing`` signs it, ``endpoints`` manages the rows.
"""
