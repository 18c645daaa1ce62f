"""A page opened in a headless browser, for the site and the explorer."""

import pytest
from support.browser import Browser


@pytest.fixture(scope="session")
def browser():
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture
def opened(browser, folder):
    """Opens a page of a test file's `folder`. Afterwards no error may have been reported, and nothing but files requested."""
    browser.errors.clear()
    browser.requests.clear()

    def open_page(path, **options):
        browser.open(folder / path, **options)
        return browser

    yield open_page
    assert not browser.errors
    assert all(url.startswith(("file:", "data:")) for url in browser.requests), browser.requests
